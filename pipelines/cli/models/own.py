"""`evergreen new`, `try`, `check` and `upgrade`: one's own model, from a file to a verdict, and whether it is sound."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.output import GATE, MENDED, AsJson, console, explained, progress, settings, show
from pipelines.contracts import EvergreenError

if TYPE_CHECKING:
    from pipelines.scaffold.data.profile import Facts
    from pipelines.scaffold.design import Design, Said

Name = Annotated[str, typer.Argument(help="the model's name, such as bike_rentals")]


def new(
    name: Name,
    source: Annotated[Path, typer.Option("--from", help="a .csv or .parquet file, or a folder of them")],
    label: Annotated[str | None, typer.Option(help="the column to be told")] = None,
    time: Annotated[
        str | None, typer.Option(help="the column that says when a row happened; none: there is none")
    ] = None,
    key: Annotated[
        list[str], typer.Option(help="whose history is kept, such as a customer; may be given again")
    ] = [],  # noqa: B006
    task: Annotated[str | None, typer.Option(help="classification, multiclass or regression")] = None,
    positive: Annotated[
        str | None, typer.Option(help="the value that counts as yes, against the rest")
    ] = None,
    horizon: Annotated[
        str | None, typer.Option(help="how long before the event is asked, such as 1h")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="take the best guess wherever nothing is said")] = False,
    as_json_text: AsJson = False,
) -> None:
    """Make a whole model of a file: data, expectations, features, labels, estimator, gate and card."""
    from pipelines.scaffold import names
    from pipelines.scaffold import new as writing
    from pipelines.scaffold.data import sources
    from pipelines.scaffold.data.profile import profiled
    from pipelines.scaffold.design import Said, design
    from pipelines.scaffold.pilot import chosen
    from pipelines.settings import PROJECT

    with explained():
        names.of_model(name, writing.patterns(PROJECT))
        writing.free(name, PROJECT)
        said = Said(label, time, tuple(key), _task(task), positive, _length(horizon))
        with sources.opened(source) as opened:
            found = profiled(opened)
            asks = not yes and not as_json_text and sys.stdin.isatty()
            made = design(name, source.name, _asked(said, found) if asks else said, found, opened)
            made = chosen(made, opened, writing.OWNER)
            if not as_json_text:
                console.print(decided(made))
            if asks and not typer.confirm("Write this model?", default=True):
                raise EvergreenError("nothing was written")
            written = writing.write(made, opened, PROJECT, settings().landing_path)
        show(_told(made, written), as_json_text, _written)


def _task(text: str | None) -> Any:
    if text not in (None, "classification", "multiclass", "regression"):
        raise EvergreenError(f"--task is classification, multiclass or regression, not {text!r}")
    return text


def _length(text: str | None) -> timedelta | None:
    from pipelines.catalog.types import duration

    try:
        return None if text is None else duration(text)
    except ValueError as error:
        raise EvergreenError(f"--horizon: {error}") from None


def _asked(said: "Said", found: "list[Facts]") -> "Said":
    """What a person answers where nothing was said; the guess is what Enter takes."""
    from dataclasses import replace

    from pipelines.scaffold.data import answers, moments

    rows = found[0].rows
    if said.label is None:
        guess = answers.guessed(found).header
        said = replace(said, label=typer.prompt("Which column is to be told?", default=guess))
    if said.time is None:
        time = moments.guessed_time([each for each in found if each.header != said.label], rows)
        shown = time.header if time else "none"
        said = replace(
            said, time=typer.prompt("Which column says when a row happened (none: no column)?", default=shown)
        )
    label = next((each for each in found if each.header == said.label), None)
    if (
        label
        and said.positive is None
        and said.task is None
        and label.kind == "string"
        and label.distinct > answers.MOST_CLASSES
    ):
        values = ", ".join(label.examples)
        said = replace(said, positive=typer.prompt(f"Which value counts as yes ({values})?"))
    if said.time not in (None, "none") and not said.keys:
        key = typer.prompt(
            "Whose history is kept, such as a customer (Enter: my guess)?", default="", show_default=False
        )
        said = replace(said, keys=tuple(part.strip() for part in key.split(",") if part.strip()))
    return said


def decided(made: "Design") -> Any:
    """What was decided of the whole and of each column, and why."""
    from rich.console import Group
    from rich.text import Text

    from pipelines.cli.tables import grid

    whole = grid(
        f"{made.name}: {made.rows:,} rows", ["", "", "why"], ([n, *w] for n, w in made.reasons.items())
    )
    columns = grid(
        "Columns",
        ["column", "as", "kind", "part", "why"],
        ([c.facts.header, c.name if c.renamed else "", c.kind, c.role, _why(c)] for c in made.columns),
    )
    return Group(whole, columns, *(Text(note) for note in made.notes))


def _why(column: Any) -> str:
    return "; ".join(part for part in (column.why, column.facts.note) if part)


def _told(made: "Design", written: Any) -> dict[str, Any]:
    columns = [
        {"header": c.facts.header, "name": c.name, "kind": c.kind, "part": c.role, "why": c.why}
        for c in made.columns
    ]
    reasons = {name: {"is": what, "why": why} for name, (what, why) in made.reasons.items()}
    return {
        "model": made.name, "decided": reasons, "columns": columns, "files": written.files,
        "landed": str(written.landed),
    }  # fmt: skip


def _written(told: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    from pipelines.cli.tables import grid

    name = told["model"]
    files = grid("Written", ["file", "lines"], told["files"].items())
    steps = {
        f"evergreen try {name}": "the whole loop on a sample, in a folder of its own",
        f"evergreen ingest {name}": "take the landed file in",
        "evergreen features compute": "its history",
        f"evergreen train {name}": "a candidate",
        f"evergreen evaluate {name}": "the gate's verdict, and a page of it",
        f"evergreen promote {name}": "make it champion, if it passed",
    }
    wide = max(map(len, steps))
    lines = (f"  {command:{wide}}  {what}" for command, what in steps.items())
    then = f"Landed: {told['landed']}\n\nNext (`evergreen start` does all but the first by itself, in Airflow):\n"
    then += "\n".join(lines) + "\n"
    return Group(files, Text(then))


def try_model(
    name: Name,
    rows: Annotated[int, typer.Option(min=200, help="at most so many of what landed")] = 20_000,
    home: Annotated[
        Path | None, typer.Option(help="keep the scratch home here; default: a temporary folder")
    ] = None,
    as_json_text: AsJson = False,
) -> None:
    """Take a model once through the whole loop, in one process and a scratch home."""
    from pipelines.scaffold.trial import run

    with explained():
        places = (settings().landing_path, settings().home / "archive")
        found = run(name, rows, home, places, progress)
        show(found, as_json_text, _tried)
    if found["decision"] != "PASS":
        raise typer.Exit(GATE)


def _tried(found: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    from pipelines.cli.tables import grid, scores, verdict

    done = ([s["step"], f"{s['seconds']:.1f}", s["said"]] for s in found["steps"])
    steps = grid("Steps", ["step", "seconds", "what came out"], done)
    rules = ([r["name"], verdict(r["decision"]), r["explanation"]] for r in found["failed"])
    failed = grid("Rules that did not pass", ["rule", "", "why"], rules)
    parts = [steps, scores(found["metrics"])]
    parts += [failed] if found["failed"] else []
    return Group(*parts, Text(f"{found['model']}: {found['decision']}; the page is {found['page']}"))


def upgrade(
    name: Annotated[str | None, typer.Argument(help="one model or dataset; all if left out")] = None,
    write: Annotated[bool, typer.Option("--write", help="write the files; else only show")] = False,
    as_json_text: AsJson = False,
) -> None:
    """Show what spec files of an older form look like in today's, and write them if asked to."""
    from pipelines.catalog.upgrade import found
    from pipelines.contracts import NothingToDo

    with explained():
        outdated, troubles = found(name)
        if not outdated and not troubles:
            raise NothingToDo("every file is of today's form")
        told = [_upgraded(each, write and each.faults is None) for each in outdated]
        for each in (each for each in outdated if write and each.faults is None):
            each.write()
        if as_json_text:
            show(told, as_json_text, list)
        elif told:
            console.print(_shown(told, write), soft_wrap=True, markup=False, highlight=False)
        troubles += [f"{each.path} would not be sound:\n{each.faults}" for each in outdated if each.faults]
        if troubles:
            raise EvergreenError("\n".join(troubles))


def _upgraded(each: Any, written: bool) -> dict[str, Any]:
    return {
        "file": str(each.path), "from": each.formats[0], "to": each.formats[1], "why": each.reasons,
        "difference": each.difference, "mend": each.faults, "written": written,
    }  # fmt: skip


def _shown(files: list[dict[str, Any]], write: bool) -> str:
    """Each difference as a patch, so that it can be read, kept and applied; then why, and what became of it."""
    said = [line for file in files for line in (file["difference"], *file["why"]) if line]
    written = sum(file["written"] for file in files)
    said.append(f"{written} of {len(files)} written." if write else "Nothing was written; --write does.")
    return "\n".join(line.rstrip("\n") for line in said)


def check(
    name: Annotated[str | None, typer.Argument(help="one model; all if left out")] = None,
    as_json_text: AsJson = False,
) -> None:
    """Say whether a model is sound: each fault with file, line and remedy. Exit 1 if one keeps it from running."""
    from pipelines import catalog
    from pipelines.loop.checkup import examine
    from pipelines.stores import Stores

    with explained():
        names = [name] if name else sorted({*catalog.models(), *catalog.faults()})
        found = {each: examine(each, Stores(settings())) for each in names}
        show(found, as_json_text, _checked)
    if any(fault.breaks for faults in found.values() for fault in faults):
        raise typer.Exit(MENDED)


def _checked(found: dict[str, list[dict[str, Any]]]) -> Any:
    from pipelines.cli.tables import grid

    sound = [name for name, faults in found.items() if not faults]
    rows = [
        [
            "[red]mend[/]" if fault["breaks"] else "[yellow]look[/]",
            fault["where"],
            fault["what"],
            fault["remedy"],
        ]
        for faults in found.values()
        for fault in faults
    ]
    if not rows:
        return f"Sound: {', '.join(sound)}"
    return grid("Check", ["", "where", "what", "remedy"], rows)
