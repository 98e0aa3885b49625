"""Up to when everything is known."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pipelines.catalog import DatasetSpec
from pipelines.contracts import NothingToDo
from pipelines.stores import Stores


def watermark(stores: Stores, specs: Iterable[DatasetSpec], patience: timedelta) -> datetime:
    """The moment up to which every dataset has landed, one that is late held back `patience` at most.

    Raises NothingToDo while nothing has landed.
    """
    known = [stores.ledger.watermark(spec.name) for spec in specs if not spec.reference]
    landed = [moment for moment in known if moment is not None]
    if not landed:
        raise NothingToDo("no file has been ingested yet; land one, or run `evergreen replay flight_delays`")
    oldest = min(landed) if len(landed) == len(known) else datetime.min.replace(tzinfo=UTC)
    return max(oldest, max(landed) - patience)
