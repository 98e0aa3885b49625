"""Whoever was erased and is here again, as a restored backup brings them back: found by keyed digest."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pipelines.contracts import Say
from pipelines.erasure import places
from pipelines.erasure.erase import Erased, erase
from pipelines.erasure.subjects import Sought
from pipelines.stores import Stores
from pipelines.stores.erasures import Erasures

WHY = "erased before, and here again"


def again(stores: Stores, book: Path | None, since: datetime | None, say: Say) -> Erased | None:
    """As `pipelines.erasure.again` promises."""
    own = Erasures(stores.settings)
    if book is not None:
        own.merge(book)
    wanted: dict[str, set[str]] = {}
    for order in own.orders():
        if since is None or order.ended is None or order.ended > since:
            for column, digest in order.subjects:
                wanted.setdefault(column, set()).add(digest)
    found = {column: _recognized(column, some, own, stores) for column, some in wanted.items()}
    here = Sought({column: values for column, values in found.items() if values})
    return erase(here, stores, WHY, datetime.now(UTC), say) if here.values else None


def _recognized(column: str, digests: set[str], book: Erasures, stores: Stores) -> frozenset[str]:
    candidates = {value for some in _named(column, stores) for value in some}
    return frozenset(value for value in candidates if book.digest(column, value) in digests)


def _named(column: str, stores: Stores) -> Iterator[set[str]]:
    """The values that a column has anywhere: in tables, in the log of answers, in files and in lines kept as landed."""
    for table in places.lake(stores):
        yield table.cells(column)
        yield table.said(column)
    for base in places.databases(stores):
        yield base.said(column)
    for folder in places.files(stores):
        yield folder.said(column)
    for storage in places.kept(stores):
        yield storage.said(column)
