"""`evergreen card`: what a person should know of a version before relying on it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import AsJson, console, explained, settings, show
from pipelines.stores import Stores


def card(
    asked: Annotated[str, typer.Argument(metavar="MODEL[@VERSION]", help="default version: the champion")],
    as_json_text: AsJson = False,
) -> None:
    """Write a version's model card anew, in MLflow and as a page, and print it."""
    from pipelines.record.card import named, write

    with explained():
        stores = Stores(settings())
        spec, version = named(asked, stores)
        path = write(spec, version.version, stores)
        found = {"model": spec.name, "version": version.version, "card": str(path)}
        if as_json_text:
            return show({**found, "page": str(path.with_suffix(".html"))}, True, str)
        _printed(path)


def _printed(path: Path) -> None:
    """As a person reads it on a terminal, as Markdown anywhere else."""
    from rich.markdown import Markdown

    if console.is_terminal:
        console.print(Markdown(path.read_text()))
        console.print(f"\nas a page: {path.with_suffix('.html')}", markup=False)
    else:
        sys.stdout.write(path.read_text())
