"""`evergreen quarantine`: what was refused, why, and what to do about it."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipelines.cli.output import MENDED, AsJson, console, explained, settings
from pipelines.contracts import as_json
from pipelines.stores import Stores

app = typer.Typer(no_args_is_help=True, help=__doc__)

Which = Annotated[str, typer.Argument(help="the first letters of a batch's digest, or its file's name")]
Why = Annotated[str, typer.Option(help="why, for the record")]


def _stores() -> Stores:
    return Stores(settings())


def _shown(value: Any) -> str:
    """Text for a terminal: control characters escaped, long values cut."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return text.rstrip("\r\n").encode("unicode_escape").decode()[:200]


def _print(rows: list[dict[str, Any]], as_json_text: bool, title: str) -> None:
    if as_json_text:
        sys.stdout.write(json.dumps(as_json(rows), indent=2, default=_shown) + "\n")
        return
    table = Table(title=title, title_justify="left")
    for name in rows[0] if rows else ():
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row.values()))
    console.print(table if rows else f"{title}: nothing is held back")


@app.command("list")
def list_held(
    dataset: Annotated[str | None, typer.Argument(help="one dataset; all if left out")] = None,
    as_json_text: AsJson = False,
) -> None:
    """Refused files and batches with quarantined rows that wait for a person."""
    from pipelines.ingestion.quarantine import held, reasons

    with explained():
        stores = _stores()
        batches = held(stores, dataset)
        why = {name: reasons(name, stores) for name in {each.dataset for each in batches if each.quarantined}}
    rows = [
        {
            "digest": batch.digest[:12],
            "dataset": batch.dataset,
            "file": batch.name,
            "state": batch.state.value,
            "rows": batch.quarantined or "whole file",
            "why": batch.reason or why.get(batch.dataset, {}).get(batch.digest, ""),
        }
        for batch in batches
    ]
    _print(rows, as_json_text, "Quarantine")


@app.command()
def show(
    which: Which,
    raw: Annotated[
        bool, typer.Option("--raw", help="print header and rows as they came, to mend them")
    ] = False,
    as_json_text: AsJson = False,
) -> None:
    """Why a batch's rows were refused: line, rule, reason and bytes; and the batch's way so far."""
    from pipelines.ingestion.quarantine import find, header, rows

    with explained():
        stores = _stores()
        batch = find(which, stores)
        found = rows(batch, stores)
    if raw:
        sys.stdout.buffer.write(header(batch, stores) + b"".join(row["raw"] for row in found))
        return
    _print(
        found, as_json_text, f"{batch.name} ({batch.digest[:12]}), {batch.state.value}: {batch.reason or ''}"
    )
    if not as_json_text:
        steps = stores.ledger.history(batch.digest, batch.dataset)
        _print([vars(step) for step in steps], False, "Its way")


@app.command()
def release(
    which: Which,
    why: Why,
    mended: Annotated[Path | None, typer.Option(help="a file with the mended rows, taken in instead")] = None,
    as_json_text: AsJson = False,
) -> None:
    """Judge a refused file or quarantined rows again by today's rules, or take a mended file in instead."""
    from pipelines.cli.tables import ingested
    from pipelines.ingestion.quarantine import find
    from pipelines.ingestion.quarantine import release as run

    with explained():
        stores = _stores()
        result = run(find(which, stores), stores, why, mended)
    if as_json_text:
        sys.stdout.write(json.dumps(as_json([result]), indent=2) + "\n")
    else:
        console.print(ingested(as_json([result])))
    if not result.state.ended:
        raise typer.Exit(MENDED)


@app.command()
def discard(which: Which, why: Why) -> None:
    """Close a refused file or quarantined rows for good; the bytes are kept."""
    from pipelines.ingestion.quarantine import discard as run
    from pipelines.ingestion.quarantine import find

    with explained():
        stores = _stores()
        batch = find(which, stores)
        run(batch, stores, why)
    console.print(f"closed: {batch.name} ({batch.digest[:12]})", markup=False)
