"""`evergreen schema`: change a dataset's columns on purpose, with a new version."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.output import AsJson, console, explained
from pipelines.cli.tables import grid

if TYPE_CHECKING:
    from pipelines.catalog import DatasetSpec

app = typer.Typer(no_args_is_help=True, help=__doc__)

Dataset = Annotated[str, typer.Argument(help="a dataset of the catalog")]
Name = Annotated[str, typer.Argument(help="the column's name, as in the files' header")]


class Kind(StrEnum):
    STRING, INTEGER, FLOAT, TIMESTAMP = "string", "integer", "float", "timestamp"


@app.command()
def show(dataset: Dataset, as_json_text: AsJson = False) -> None:
    """A dataset's columns and version, as its yaml has them."""
    from pipelines import catalog

    with explained():
        spec = catalog.dataset(dataset)
    if as_json_text:
        typer.echo(spec.model_dump_json(indent=2))
        return
    rows = [
        [name, c.type + (f", {c.timezone} if not said" if c.timezone else ""),
         "may be empty" if c.nullable else "always there", f"since {c.since}"
         + (f", deprecated in {c.deprecated}" if c.deprecated else ""), c.description]
        for name, c in spec.columns.items()
    ]  # fmt: skip
    console.print(
        grid(f"{dataset}, version {spec.version}", ["column", "type", "value", "version", "meaning"], rows)
    )


@app.command()
def add(
    dataset: Dataset,
    name: Name,
    kind: Annotated[Kind, typer.Option("--type", help="its type")],
    description: Annotated[str, typer.Option(help="what it means")] = "to be described",
) -> None:
    """Add a column; files that lack it are still accepted."""
    from pipelines import catalog
    from pipelines.reading import schema

    with explained():
        _tell(schema.add(catalog.dataset(dataset), name, kind.value, description))


@app.command()
def widen(
    dataset: Dataset, name: Name, to: Annotated[Kind, typer.Option("--to", help="the wider type")]
) -> None:
    """Make a column's type wider: integer to float or string, float or timestamp to string."""
    from pipelines import catalog
    from pipelines.reading import schema

    with explained():
        _tell(schema.widen(catalog.dataset(dataset), name, to.value))


@app.command()
def deprecate(dataset: Dataset, name: Name) -> None:
    """Let files leave a column out."""
    from pipelines import catalog
    from pipelines.reading import schema

    with explained():
        _tell(schema.deprecate(catalog.dataset(dataset), name))


def _tell(spec: "DatasetSpec") -> None:
    console.print(
        f"pipelines/datasets/{spec.name}.yaml is version {spec.version} now; review and commit it."
        f" Silver follows with the next ingestion; `evergreen quarantine list {spec.name}` shows what it may release.",
        markup=False,
    )
