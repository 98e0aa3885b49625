"""`evergreen erase` and `evergreen retain`: rows that have to go, from every place and for good."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.output import MENDED, AsJson, explained, progress, settings, show
from pipelines.contracts import EvergreenError, NothingToDo
from pipelines.stores import Stores

if TYPE_CHECKING:
    from rich.text import Text

    from pipelines.erasure.erase import Erased


def erase(
    subject: Annotated[
        list[str] | None,
        typer.Option(
            help="DATASET.COLUMN=VALUE, such as card_customers.customer_id=C00042; as often as need be"
        ),
    ] = None,
    subjects: Annotated[
        str | None,
        typer.Option(
            help="a file with one of these a line, - for standard input: others see a command's words"
        ),
    ] = None,
    why: Annotated[
        str, typer.Option(help="for the audit log; without the person's name")
    ] = "a person asked for it",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="count what would go, and change nothing")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="whoever was erased before and is here again, as after a restore")
    ] = False,
    book: Annotated[
        Path | None, typer.Option(help="with --again: a newer copy of erasures.jsonl than this home has")
    ] = None,
    as_json_text: AsJson = False,
) -> None:
    """Remove a person from every table, database and file, for good; say which models learned from their rows.

    Ended at any point, the same command again does the rest. Exit code 1 if something is left that it cannot remove.
    """
    with explained():
        stores = Stores(settings())
        named = [*(subject or []), *_lines(subjects)]
        found = _again(stores, book) if again else _erased(named, stores, why, dry_run)
        show(found, as_json_text, _told)
    if found.left and not dry_run:
        raise typer.Exit(MENDED)


def _again(stores: Stores, book: Path | None) -> "Erased":
    from pipelines.erasure import again

    if book is not None and not book.is_file():
        raise EvergreenError(f"{book} is no file; name a copy of another home's erasures.jsonl")
    found = again(stores, book, say=progress)
    if found is None:
        raise NothingToDo("nobody who was erased is here")
    return found


def _erased(named: list[str], stores: Stores, why: str, dry_run: bool) -> "Erased":
    from pipelines.erasure.erase import erase as remove
    from pipelines.erasure.erase import look
    from pipelines.erasure.subjects import sought

    wanted = sought(named)
    if dry_run:
        return look(wanted, stores, progress)
    return remove(wanted, stores, why, datetime.now(UTC), progress)


def _lines(source: str | None) -> list[str]:
    if source is None:
        return []
    if source != "-" and not Path(source).is_file():
        raise EvergreenError(f"{source} is no file; name one with a DATASET.COLUMN=VALUE on each line")
    text = sys.stdin.read() if source == "-" else Path(source).read_text()
    return [line.strip() for line in text.splitlines() if line.strip()]


def _told(found: dict[str, Any]) -> "Text":
    from rich.text import Text

    verb = "would go" if found["dry"] else "are gone"
    lines = [
        f"{each['place']}: {each['rows']:,} rows, {each['remains']:,} remains" for each in found["places"]
    ]
    rows = sum(each["rows"] for each in found["places"])
    lines.append(f"{rows:,} rows of {found['persons']:,} persons {verb}, from {len(lines)} places")
    lines += map(_model, found["models"])
    lines += [f"left: {each}" for each in found["left"]]
    return Text("\n".join(lines))


def _model(each: dict[str, Any]) -> str:
    rows = "may have learned from them, its training set is gone" if each["rows"] is None else (
        f"learned from {each['rows']:,} of them"
    )  # fmt: skip
    due = f"; it is champion, so `evergreen train {each['model']}` is due" if each["serves"] else ""
    return f"{each['model']} version {each['version']} {rows}{due}"


def retain(
    dataset: Annotated[
        str | None, typer.Argument(help="one dataset; all that have a retention if left out")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="ages count from this moment; default: from the newest row of each")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="count what would go, and change nothing")
    ] = False,
    as_json_text: AsJson = False,
) -> None:
    """Remove what is older than its dataset's `retention`, from every version of its tables, and its files."""
    from pipelines import catalog
    from pipelines.erasure.retention import retain as remove
    from pipelines.loop.steps import moment

    with explained():
        names = [dataset] if dataset else list(catalog.datasets())
        found = remove(names, Stores(settings()), datetime.now(UTC), moment(as_of), dry_run, progress)
        show(found, as_json_text, _aged)


def _aged(found: list[dict[str, Any]]) -> "Text":
    from rich.text import Text

    lines = []
    for each in found:
        verb, rows = "would go" if each["dry"] else "are gone", sum(each["rows"].values())
        lines.append(
            f"{each['dataset']}: {rows:,} rows and {each['files']:,} files of before {each['before'][:16]} {verb}"
        )
        lines += [f"  {pin}" for pin in each["pins"]]
    return Text("\n".join(lines))


COMMANDS = (erase, retain)
