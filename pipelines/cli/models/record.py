"""`evergreen card` and `reproduce`: what a person should know of a version, and whether it comes out again."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli.output import MENDED, AsJson, console, explained, settings, show
from pipelines.contracts import EvergreenError
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


def reproduce(
    asked: Annotated[str, typer.Argument(metavar="MODEL[@VERSION]", help="default version: the champion")],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="try it though this checkout's files of the model are others")
    ] = False,
    as_json_text: AsJson = False,
) -> None:
    """Make a version again from its record, in this checkout, and compare rows, answers and model. 1: they differ."""
    from pipelines import catalog
    from pipelines.training.reproduce import reproduce as run

    with explained():
        name, _, number = asked.partition("@")
        spec, stores = catalog.model(name), Stores(settings())
        answer = run(spec, _version(name, number, stores), stores, datetime.now(UTC), anyway)
        facts = {"reproduced": answer.reproduced, **vars(answer)}
        show(
            facts | {"compared": [{**vars(c), "equal": c.equal} for c in answer.compared]},
            as_json_text,
            _table,
        )
    if not answer.reproduced:
        raise typer.Exit(MENDED)


def _version(name: str, number: str, stores: Stores) -> int:
    """The version that was asked for; without one the champion."""
    if number and not number.isdigit():
        raise EvergreenError(f"{number!r} is no version of {name}; name one such as {name}@3")
    champion = None if number else stores.tracking.champion(name)
    if not number and champion is None:
        raise EvergreenError(f"{name} has no champion; name a version such as {name}@3")
    return int(number) if champion is None else champion.version


def _table(answer: dict[str, Any]) -> Any:
    from rich.console import Group

    from pipelines.cli.tables import grid

    name = f"{answer['model']}@{answer['version']}"
    said = "came out the same" if answer["reproduced"] else "came out OTHERWISE"
    rows = [
        [c["what"], c["recorded"], c["made"], "equal" if c["equal"] else c["how"]] for c in answer["compared"]
    ]
    shown = grid(f"{name}, made again as of {answer['as_of']}", ["", "recorded", "made here", ""], rows)
    seen = f"{name} {said}: {answer['rows']:,} rows to learn from, {answer['held']:,} held out."
    differ = [[d["kind"], d["name"], d["recorded"], d["here"], d["how"]] for d in answer["differences"]]
    if not differ:
        return Group(shown, "This checkout is the one of the record: code, parameters, environment.", seen)
    return Group(shown, grid("This checkout", ["", "", "recorded", "here", ""], differ), seen)
