"""Up to when everything is known, and which dataset holds it back."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pipelines.catalog import DatasetSpec, datasets
from pipelines.contracts import NothingToDo
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import ViewVersion

NEVER = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
USUAL = timedelta(hours=1)
"""How far datasets lie apart in ordinary times, of which nobody need be told."""


def watermark(stores: Stores, specs: Iterable[DatasetSpec], patience: timedelta) -> datetime:
    """The moment up to which every dataset has landed, one that is late held back `patience` at most.

    Raises NothingToDo while nothing has landed.
    """
    known = _known(stores, specs)
    last = max(known.values(), default=NEVER)
    if last == NEVER:
        raise NothingToDo(
            "no file has been ingested yet; land one, or play one with `evergreen replay MODEL`"
        )
    return max(min(known.values()), last - patience)


def reachable(version: ViewVersion, stores: Stores, patience: timedelta) -> datetime:
    """How far a view can be computed: as far as its own datasets have landed, whatever became of others.

    Nothing holds back a view of which no dataset grows, or has ever landed: it goes as far as anything has.
    """
    try:
        return watermark(stores, sources(version), patience)
    except NothingToDo:
        return newest(stores)


def newest(stores: Stores) -> datetime:
    """The moment up to which anything has landed; NothingToDo while nothing has."""
    return watermark(stores, datasets().values(), timedelta(0))


def sources(version: ViewVersion) -> list[DatasetSpec]:
    """The datasets that a view reads."""
    return [datasets()[name] for name in sorted(version.sources)]


def behind(stores: Stores, specs: Iterable[DatasetSpec], until: datetime) -> dict[str, datetime | None]:
    """The datasets of which nothing later than `until` landed while much more did of others, and how far each is."""
    known = _known(stores, specs)
    waits = until < max(known.values(), default=NEVER) - USUAL
    late = {name: moment for name, moment in known.items() if waits and moment <= until}
    return {name: None if moment == NEVER else moment for name, moment in late.items()}


def _known(stores: Stores, specs: Iterable[DatasetSpec]) -> dict[str, datetime]:
    """Up to when each dataset that grows has landed."""
    growing = [spec.name for spec in specs if not spec.reference]
    return {name: stores.ledger.watermark(name) or NEVER for name in growing}
