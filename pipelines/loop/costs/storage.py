"""How many bytes lie on disk for each dataset and model; files are counted by their size, none is opened."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines import catalog
from pipelines.contracts import EvergreenError
from pipelines.loop.costs.shares import users
from pipelines.places import local
from pipelines.stores import Stores
from pipelines.stores.durable import address
from pipelines.stores.tracking.records import lies_at

NOT_COUNTED = "not counted: it lies at an address, not on a disk of this machine"
OF_DATASETS, OF_MODELS = ("silver", "quarantine"), ("predictions", "truths", "scores", "drift")
"""Layers of the lake."""


def storage(stores: Stores) -> list[dict[str, Any]]:
    """One row for each place of each dataset, view and model: what it is, its bytes, and who uses it; none of 0."""
    return [row for row in (*_datasets(stores), *_views(stores), *_models(stores)) if row["bytes"] != 0]


def _datasets(stores: Stores) -> Iterable[dict[str, Any]]:
    known = users()
    for name in catalog.datasets():
        for layer in OF_DATASETS:
            yield _row(
                "dataset", name, layer, [address(stores.settings.lake_uri, layer, name)], known.datasets[name]
            )


def _views(stores: Stores) -> Iterable[dict[str, Any]]:
    for view, models in users().views.items():
        yield _row("view", view, "features", [address(stores.settings.lake_uri, "features", view)], models)


def _models(stores: Stores) -> Iterable[dict[str, Any]]:
    home = stores.settings.home
    for name in catalog.models():
        for layer in OF_MODELS:
            yield _row("model", name, layer, [address(stores.settings.lake_uri, layer, name)], (name,))
        yield _row("model", name, "training sets", [str(home / "training_sets" / name)], (name,))
        yield _row("model", name, "models at hand", [str(home / "models" / name)], (name,))
        yield _row("model", name, "artifacts in MLflow", _artifacts(name, stores), (name,))


def _artifacts(model: str, stores: Stores) -> list[str]:
    """Where the files of a model's versions and of their runs lie."""
    found: list[str] = []
    with suppress(EvergreenError):
        records = stores.tracking.records
        for version in records.versions(model):
            place = lies_at(version.source, records)
            found += [] if place.startswith("models:/") else [place]
            found += [records.run(version.run_id).artifacts] if version.run_id else []
    return [each for each in sorted(set(found)) if not any(each.startswith(f"{other}/") for other in found)]


def _row(kind: str, name: str, what: str, places: list[str], models: Iterable[str]) -> dict[str, Any]:
    folders = [local(place) for place in places]
    row = {"kind": kind, "name": name, "what": what, "models": list(models)}
    if None in folders:
        return row | {"bytes": None, "note": NOT_COUNTED}
    return row | {"bytes": sum(size(folder) for folder in folders if folder is not None), "note": ""}


def size(folder: Path) -> int:
    """The bytes of all files below a folder; 0 where there is none, and links are not followed."""
    found = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it went while we looked
                found += os.lstat(Path(where, name)).st_size
    return found
