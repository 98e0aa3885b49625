"""`evergreen diff`: what a change does to each model, for whoever reviews it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import MENDED, AsJson, explained, progress, settings


def diff(
    revision: Annotated[str, typer.Argument(metavar="REV", help="what to compare with, such as origin/main")],
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="only these; all that are touched if left out"),
    ] = None,
    merge_base: Annotated[
        bool,
        typer.Option(
            "--merge-base", help="compare with where REV and this checkout parted, as git diff does"
        ),
    ] = False,
    quality: Annotated[
        bool,
        typer.Option(
            "--quality", help="also train and score both sides on the same rows, on this home's data"
        ),
    ] = False,
    as_json_text: AsJson = False,
) -> None:
    """What this work tree changes for each model since REV, as Markdown for its review. Exit 1 if one breaks by it."""
    import json
    from tempfile import TemporaryDirectory

    from pipelines.review.changes import found, markdown
    from pipelines.settings import PROJECT
    from pipelines.stores import Stores
    from pipelines.stores.read_only import read_only

    with explained(), TemporaryDirectory(prefix="evergreen-diff-") as scratch:
        stores = read_only(Stores(settings()), Path(scratch))
        told, before, after = found.diff(revision, models or (), PROJECT, stores, merge_base)
        measured = []
        if quality:
            from pipelines.review.changes.quality import expected

            measured = [
                expected(each.model, before, after, Stores(settings()), progress) for each in told.models
            ]
        if as_json_text:
            plain = markdown.as_plain(told) | {"quality": [vars(each) for each in measured]}
            sys.stdout.write(json.dumps(plain, indent=2, default=str) + "\n")
        else:
            sys.stdout.write(markdown.rendered(told, map(str, measured)))
    if told.breaks:
        raise typer.Exit(MENDED)
