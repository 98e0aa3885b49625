"""`evergreen search`: better parameters within a budget, and a candidate that has them."""

from typing import Annotated, Any

import typer

from pipelines.cli.output import AsJson, console, explained, progress, show


def search(
    model: Annotated[str, typer.Argument(help="a model of the catalog whose spec.yaml has a `search`")],
    as_of: Annotated[
        str | None, typer.Option(help="the moment whose knowledge counts; default: all that landed")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="how many in all; default: spec.yaml's")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with the newest interrupted search")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="put what was found into spec.yaml")] = False,
    as_json_text: AsJson = False,
) -> None:
    """Search better parameters on the training rows, and register a candidate for the gate that has them."""
    from pipelines.loop import steps

    with explained():
        answer = steps.search(model, as_of, trials, resume, say=progress)
        show(answer, as_json_text, _table)
        if answer["search"]["changed"]:
            _spec(model, answer["search"]["changed"], write, as_json_text)


def _spec(model: str, changed: dict[str, Any], write: bool, quiet: bool) -> None:
    """spec.yaml is where parameters live: show what to change there, and change it if asked to."""
    from pipelines import catalog
    from pipelines.catalog.parameters import difference, rewritten

    path = catalog.model(model).folder / "spec.yaml"
    text = rewritten(path, changed)
    if not quiet:
        console.print(difference(path, text), markup=False, highlight=False)
    if write:
        path.write_text(text)
    if not quiet:
        said = "Written; the" if write else "With these lines in spec.yaml (--write puts them there) the"
        console.print(f"{said} next training uses them; until then it uses the present ones.")


def _table(answer: dict[str, Any]) -> Any:
    from rich.console import Group

    from pipelines.cli.tables import grid

    found, made = answer["search"], answer["candidate"]
    facts = [
        ["on", f"{answer['training_set']['rows']:,} training rows as of {found['as_of']}; no held-out row"],
        ["trials", f"{found['trials']}, {found['pruned']} given up early; {found['seconds']:.0f} s of work"],
        [f"{found['metric']} with spec.yaml's", f"{found['present']:.5f}"],
        [f"{found['metric']} with the best", f"{found['best']:.5f}"],
        *([f"  {name}", str(value)] for name, value in found["changed"].items()),
        ["MLflow run", found["run_id"]],
    ]
    shown = grid(f"Search of {found['model']}", ["", ""], facts)
    if made is None:
        return Group(shown, "Nothing is better than spec.yaml's parameters; no candidate was trained.")
    name = f"{made['model']} {made['version']}"
    more = f"Candidate {name} has them; `evergreen evaluate {made['model']} --version {made['version']}` judges it."
    return Group(shown, more)
