"""The whole deployment into a folder, and from there again: `evergreen backup`, `evergreen restore`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pipelines.cli.output import MENDED, AsJson, errors, explained, progress, settings, show
from pipelines.stores import Stores

FROM = Annotated[Path, typer.Argument(metavar="FROM", help="the folder of a backup")]


def backup(
    to: Annotated[
        Path,
        typer.Argument(metavar="TO", help="a folder outside home; an earlier backup's grows by what is new"),
    ],
    without_keys: Annotated[
        bool,
        typer.Option("--without-keys", help="leave keys, passwords and secrets out; keep those elsewhere"),
    ] = False,
    as_json_text: AsJson = False,
) -> None:
    """Copy the whole deployment as of one instant, while it works: databases, lake, models, files, keys."""
    from pipelines.backup.taking import backup as run

    with explained():
        show(run(Stores(settings()), to, progress, not without_keys), as_json_text, _taken)


def _taken(found: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    keys = "in it; whoever can read it can sign as this deployment" if found["keys"] else "not in it"
    for name, value in {
        "backup": found["name"],
        "as of": f"{found['at'][:19].replace('T', ' ')} UTC",
        "holds": f"{found['files']:,} files, {_mb(found['bytes'])}",
        "of them new": f"{_mb(found['added'])} in {found['folder']}",
        "keys": keys,
        "manifest": found["manifest"],
    }.items():
        table.add_row(name, str(value))
    return table


def restore(
    source: FROM,
    name: Annotated[
        str | None, typer.Option("--backup", help="which of the folder; default: the newest")
    ] = None,
    erased: Annotated[
        Path | None, typer.Option(help="a newer erasures.jsonl than the backups' own: those persons go again")
    ] = None,
    only_check: Annotated[bool, typer.Option("--check", help="read it all and restore nothing")] = False,
    as_json_text: AsJson = False,
) -> None:
    """Make a deployment again from a backup, in an empty home; exit 1 if its record is not whole."""
    from pipelines.acting import acting
    from pipelines.backup.restoring import check
    from pipelines.backup.restoring import restore as run

    with explained():
        if only_check:
            _, found, signed = check(source, name, settings(), progress)
            answer = {"name": found.name, "files": len(found.files), "bytes": found.size, "signed": signed}
            show(answer, as_json_text, lambda said: f"{said['name']} is whole: {said['files']:,} files,"
                 f" {_mb(said['bytes'])}; {said['signed']}")  # fmt: skip
            return
        done = run(source, name, settings(), acting(), progress, erased)
        show(done, as_json_text, _restored)
    for what in done.findings:
        errors.print(f"WRONG: {what}", style="red", markup=False, soft_wrap=True)
    for what in done.unverified:
        errors.print(f"Not verified: {what}", style="yellow", markup=False, soft_wrap=True)
    if done.findings or done.unverified:
        raise typer.Exit(MENDED)


def _restored(found: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    whole = (
        "not verified"
        if found["unverified"]
        else f"{len(found['findings'])} findings"
        if found["findings"]
        else "whole"
    )
    for name, value in {
        "backup": found["name"],
        "as of": f"{found['at'][:19].replace('T', ' ')} UTC",
        "restored": f"{found['files']:,} files, {_mb(found['bytes'])} in {found['home']}",
        "addresses": f"{found['moved']:,} lead here now",
        "signature": found["signed"],
        "audit": whole,
    }.items():
        table.add_row(name, str(value))
    return table


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
