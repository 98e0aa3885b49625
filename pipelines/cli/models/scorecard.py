"""`evergreen scorecard`: how ready a model is for production, by fresh evidence."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import AsJson, console, explained, settings


def scorecard(
    model: Annotated[str | None, typer.Argument(help="a model of the catalog; all if left out")] = None,
    within: Annotated[str, typer.Option(help="how old evidence may be, such as 30d")] = "30d",
    markdown: Annotated[bool, typer.Option("--markdown", help="print Markdown")] = False,
    as_json_text: AsJson = False,
) -> None:
    """The 28 items of the ML Test Score (Breck et al. 2017), each with points, evidence, its date, and a remedy."""
    from tempfile import TemporaryDirectory

    from pipelines import catalog
    from pipelines.catalog.types import duration
    from pipelines.contracts import EvergreenError
    from pipelines.review.scorecard import card, shown
    from pipelines.settings import PROJECT
    from pipelines.stores import Stores
    from pipelines.stores.read_only import read_only

    with explained(), TemporaryDirectory(prefix="evergreen-scorecard-") as scratch:
        try:
            limit = duration(within)
        except ValueError as error:
            raise EvergreenError(f"--within: {error}") from None
        stores, now = Stores(settings()), datetime.now(UTC)
        looking = read_only(stores, Path(scratch))
        names = [model] if model else list(catalog.models())
        cards = [card.scored(name, stores, looking, now, PROJECT, limit) for name in names]
        if as_json_text:
            plain = [shown.as_plain(each) for each in cards]
            sys.stdout.write(json.dumps(plain[0] if model else plain, indent=2) + "\n")
        elif markdown:
            sys.stdout.write("\n".join(map(shown.markdown, cards)))
        else:
            for each in cards:
                console.print(shown.table(each))
