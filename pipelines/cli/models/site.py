"""`evergreen site`: the catalog that people read, as files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import AsJson, explained, settings, show


def site(
    model: Annotated[str | None, typer.Option(help="the page of this model alone")] = None,
    out: Annotated[Path | None, typer.Option(help="the folder to write; default: `site` in the home")] = None,
    as_json_text: AsJson = False,
) -> None:
    """Write the catalog as pages: one over all models, and of each its owner, champion, history, drift and lineage."""
    from pipelines import catalog
    from pipelines.site import static
    from pipelines.stores import Stores

    with explained():
        stores, now = Stores(settings()), datetime.now(UTC)
        folder = out or stores.settings.home / "site"
        if model is not None:
            written = [static.write_one(catalog.model(model), stores, now, folder)]
        else:
            written = static.write(stores, now, catalog.models(), folder)
        told = "{} page{} written; open {}"
        paths = [str(path) for path in written]
        show(paths, as_json_text, lambda found: told.format(len(found), "s" * (len(found) != 1), found[0]))
