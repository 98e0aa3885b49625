"""The pages as files that lead to each other: a folder that a browser opens without any server."""

import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.gate import record
from pipelines.places import whole
from pipelines.site import pages, watching
from pipelines.site.facts import HouseFacts, ModelFacts
from pipelines.site.house import house
from pipelines.site.model import facts
from pipelines.stores import Stores

OVER, MODELS = "index.html", "models"


class Files:
    """Links from a model's page, or from the page over all, to files beside it; reports are copied when linked."""

    def __init__(self, folder: Path, stores: Stores, inside: bool) -> None:
        self._folder, self._stores = folder, stores
        self.over, self._up = (f"../{OVER}", "../") if inside else (OVER, "")

    def model(self, name: str) -> str:
        return f"{self._up}{MODELS}/{quote(safe(name))}.html"

    def decision(self, name: str, version: int) -> str | None:
        page = record.page_of(name, version, self._stores)
        return self._copied(page, name, f"{version}.html")

    def card(self, name: str, version: int) -> str | None:
        page = record.beside(name, version, "card.html", self._stores)
        return self._copied(page, name, f"{version}-card.html")

    def run(self, run_id: str) -> str | None:
        return None

    def performance(self, name: str) -> str | None:
        page = self._stores.files.at("reports", "performance", f"{name}.html")
        return self._copied(page, name, "performance.html")

    def drift(self, name: str) -> str | None:
        page = watching.page(name, self._stores)
        return self._copied(page, name, "drift.html") if page else None

    def _copied(self, page: Path, name: str, to: str) -> str | None:
        """The link to a copy of a report, which is made; None if there is no report."""
        if not page.is_file():
            return None
        with whole(self._folder / MODELS / safe(name) / to) as part:
            shutil.copyfile(page, part)
        return f"{self._up}{MODELS}/{quote(safe(name))}/{to}"


def safe(name: str) -> str:
    """The name as a file's; EvergreenError for one that would leave the folder, or be hidden in it."""
    if not name or name.startswith(".") or {*name} & {*"/\\\0"}:
        raise EvergreenError(f"{name!r} cannot be the name of a page; rename the model")
    return name


def write(stores: Stores, now: datetime, models: Mapping[str, ModelSpec], folder: Path) -> list[Path]:
    """Writes the page over these models and one of each, every file whole; their paths, that over all first."""
    found = house(stores, now, models)
    return [_over(found, stores, now, folder), *(_model(each, stores, now, folder) for each in found.models)]


def write_one(spec: ModelSpec, stores: Stores, now: datetime, folder: Path) -> Path:
    """Writes one model's page, and where there is no page over all yet, one over it alone; the path of the first."""
    if not (folder / OVER).exists():
        _over(house(stores, now, {spec.name: spec}), stores, now, folder)
    return _model(facts(spec, stores, now), stores, now, folder)


def _over(found: HouseFacts, stores: Stores, now: datetime, folder: Path) -> Path:
    return _put(folder / OVER, pages.over(found, Files(folder, stores, inside=False), now))


def _model(found: ModelFacts, stores: Stores, now: datetime, folder: Path) -> Path:
    page = folder / MODELS / f"{safe(found.name)}.html"
    return _put(page, pages.model(found, Files(folder, stores, inside=True), now))


def _put(path: Path, text: str) -> Path:
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
    return path
