"""`evergreen erase`: persons leave every place, and the audit log knows that they did, not who they were."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from uuid import uuid4

from pipelines import catalog
from pipelines.contracts import EvergreenError, Say, TransientError
from pipelines.erasure import places
from pipelines.erasure.databases import Database
from pipelines.erasure.files import Files
from pipelines.erasure.kept import Kept
from pipelines.erasure.learned import Learned, learned
from pipelines.erasure.subjects import Sought, columns
from pipelines.stores import Stores
from pipelines.stores.erasures import Erasures
from pipelines.stores.locks import erasing

PATIENCE = 30.0
"""Seconds for which what is at work may end before an erasure is refused."""


@dataclass(frozen=True)
class Counted:
    """What one place held: rows and texts, and `remains` of older versions that nobody reads any more."""

    place: str
    rows: int
    remains: int


@dataclass(frozen=True)
class Erased:
    """What was found, and removed unless `dry`. `models` learned from it. `left` is what this cannot remove, each with
    what to do; nothing is left where it is empty."""

    number: str
    dry: bool
    persons: int
    places: tuple[Counted, ...]
    models: tuple[Learned, ...] = ()
    left: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.places)


def erase(
    sought: Sought,
    stores: Stores,
    why: str,
    now: datetime,
    say: Say = lambda _: None,
    patience: float = PATIENCE,
) -> Erased:
    """Removes all that is these persons', for good; ended at any point, the same call again does the rest.

    TransientError while something is at work or files of theirs wait; nothing was removed then.
    """
    if sought.in_text(why):
        raise EvergreenError(
            "the reason names the person, and the audit log keeps it for good; say it without"
        )
    with erasing(stores.settings, patience):
        _nothing_waits(sought, stores)
        whole = with_answers(sought, stores)
        number, book = uuid4().hex[:12], Erasures(stores.settings)
        models = tuple(_known(learned(whole, stores), sought, book, stores))
        _begun(number, sought, models, stores, why, now)
        found = tuple(_emptied(whole, stores, now, say))
        left = (*_left(whole, stores), *places.unseen(stores))
        answer = Erased(number, False, _persons(sought), found, models, left)
        _ended(answer, sought, stores, why, now)
        return answer


def look(sought: Sought, stores: Stores, say: Say = lambda _: None) -> Erased:
    """What `erase` would remove from where, and who learned from it; changes nothing."""
    whole = with_answers(sought, stores)
    found = tuple(each for place in places.places(stores) if (each := _counted(place, whole, say)))
    left = (*_left(whole, stores), *places.unseen(stores))
    return Erased("", True, _persons(sought), found, tuple(learned(whole, stores)), left)


def with_answers(sought: Sought, stores: Stores) -> Sought:
    """The same persons, and the answers to questions about them by their ids: truths and comparisons know no more."""
    ids = {each for base in places.databases(stores) for each in base.prediction_ids(sought)}
    for table in places.lake(stores):
        if table.name.startswith(f"{places.LAST}/"):
            ids |= table.cells("prediction_id", sought)
    return sought.also("prediction_id", ids)


def _emptied(sought: Sought, stores: Stores, now: datetime, say: Say) -> Iterable[Counted]:
    for place in places.places(stores):
        found = _counted(place, sought, say)
        # Of a place that shows nothing a run that was ended may have left the last step to this one.
        place.remove(sought, now)
        if found is not None:
            yield found


def _counted(place: places.Place, sought: Sought, say: Say) -> Counted | None:
    found = place.find(sought)
    if not found:
        return None
    say(f"{place.name}: {found.rows:,} rows, {found.remains:,} remains")
    return Counted(place.name, found.rows, found.remains)


def _nothing_waits(sought: Sought, stores: Stores) -> None:
    """TransientError if a file that may hold them has landed and is not taken in yet."""
    landing = stores.settings.landing_path
    names = os.listdir(landing) if landing.is_dir() else []
    for dataset in _datasets(sought):
        pattern = catalog.dataset(dataset).pattern
        waits = [n for n in names if fnmatchcase(n.lstrip("-"), pattern) and (landing / n).is_file()]
        if waits:
            raise TransientError(
                f"{len(waits)} files of {dataset} wait in {landing}, and may be about them; nothing was removed:"
                f" `evergreen ingest {dataset}` first"
            )


def _datasets(sought: Sought) -> list[str]:
    return [name for column, names in columns().items() if column in sought.values for name in names]


def _persons(sought: Sought) -> int:
    return sum(map(len, sought.values.values()))


def digests(sought: Sought, book: Erasures) -> list[tuple[str, str]]:
    """Each person's column and keyed digest."""
    return sorted(
        (column, book.digest(column, v)) for column in sought.of(columns()) for v in sought.values[column]
    )


def _known(found: Iterable[Learned], sought: Sought, book: Erasures, stores: Stores) -> list[Learned]:
    """The models, with those that an order for the same persons named before it was ended midway."""
    mine = set(digests(sought, book))
    models = {(each.model, each.version): each for each in found}
    for order in book.orders():
        if order.ended is None and mine & set(order.subjects):
            for name, version, rows in order.models:
                champion = stores.tracking.champion(name)
                serves = champion is not None and champion.version == version
                models.setdefault((name, version), Learned(name, version, rows, serves))
    return [models[key] for key in sorted(models)]


def _begun(
    number: str, sought: Sought, models: Iterable[Learned], stores: Stores, why: str, now: datetime
) -> None:
    book, named = Erasures(stores.settings), [(each.model, each.version, each.rows) for each in models]
    persons = digests(sought, book)
    book.begun(number, now, persons, named)
    evidence = {"state": "begun", "subjects": persons, "learned": [list(each) for each in named]}
    stores.audit.append(now, stores.who, "erase", f"erasure:{number}", why, evidence, f"erase:{number}:begun")


def _ended(answer: Erased, sought: Sought, stores: Stores, why: str, now: datetime) -> None:
    book = Erasures(stores.settings)
    mine = set(digests(sought, book))
    evidence = {
        "state": "ended",
        "subjects": sorted(mine),
        "places": {each.place: [each.rows, each.remains] for each in answer.places},
        "learned": [[each.model, each.version, each.rows] for each in answer.models],
        "left": len(answer.left),
    }
    subject, once = f"erasure:{answer.number}", f"erase:{answer.number}:ended"
    stores.audit.append(datetime.now(UTC), stores.who, "erase", subject, why, evidence, once)
    for order in book.orders():
        if order.ended is None and set(order.subjects) <= mine:
            book.ended(order.number, now)


def _left(sought: Sought, stores: Stores) -> list[str]:
    """What holds something of theirs and cannot be changed, each with what to do."""
    found = []
    for place in places.places(stores):
        if isinstance(place, Files):
            found += [f"{_shown(path, stores)} cannot be written without them: {_remedy(path)}"
                      for path in place.unchangeable(sought)]  # fmt: skip
        if isinstance(place, Kept):
            found += [f"{name} cannot be written without them: {_remedy(Path(name))}"
                      for name in place.unchangeable(sought)]  # fmt: skip
        if isinstance(place, Database) and (entries := place.kept(sought)):
            found.append(
                f"{entries} entries of the audit log name a file by a value of theirs, and are chained; name files"
                " without such values"
            )
    return found


def _shown(path: Path, stores: Stores) -> str:
    home = stores.settings.home
    return str(path.relative_to(home) if path.is_relative_to(home) else path)


def _remedy(path: Path) -> str:
    if path.suffix == ".jsonl":
        return "a server holds it, whose answers wait for their database; run it again when that is back"
    model = path.suffix in {".skops", ".onnx"}
    return (
        "a model has learned the value itself; train again and retire the version"
        if model
        else "remove the file"
    )
