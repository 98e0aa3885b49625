"""A batch is held against the batches before it: volume and distribution block, the rest warns."""

import re
from functools import cache

import pytest

from pipelines.catalog import dataset
from pipelines.contracts import BatchState, IngestResult
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.stores import Stores
from pipelines.upstream import connect
from pipelines.validation.history import ENOUGH
from tests.integration.ingestion.test_ingest import land

_upstream = cache(connect)
SPEC = dataset("flights")


def day(number: int, rows: str = "*", limit: int = 1000) -> bytes:
    """Real flights of one day of January as CSV, columns replaced as `rows` says."""
    columns = ", ".join(
        f"""strftime("{n}", '%Y-%m-%dT%H:%M:%SZ') AS "{n}\"""" if c.type == "timestamp" else f'"{n}"'
        for n, c in SPEC.columns.items()
    )
    found = (
        _upstream(("flights",))
        .sql(
            f"SELECT {rows} FROM (SELECT {columns} FROM flights WHERE day(scheduled_departure) = {number}"
            f" AND month(scheduled_departure) = 1 AND year(scheduled_departure) = 2013"
            f" ORDER BY hash(tailnum, flight) LIMIT {limit})"
        )
        .df()
    )
    found = found.astype({n: "Int64" for n, c in SPEC.columns.items() if c.type == "integer"})
    return found.to_csv(index=False).encode()


@pytest.fixture
def known(stores: Stores) -> Stores:
    """Stores with as many days as make a history."""
    for number in range(1, ENOUGH + 1):
        land(stores, day(number), f"flights_{number}.csv")
    results = ingest_dataset(SPEC, stores)
    assert [r.state for r in results] == [BatchState.ARCHIVED] * ENOUGH
    return stores


def taken(stores: Stores, content: bytes) -> IngestResult:
    land(stores, content, "flights_new.csv")
    [result] = ingest_dataset(SPEC, stores)
    return result


def test_a_usual_day_passes(known: Stores) -> None:
    result = taken(known, day(9))
    assert (result.state, result.reason) == (BatchState.ARCHIVED, None)
    assert result.silver > 500


def test_a_mean_far_from_earlier_batches_blocks_the_batch(known: Stores) -> None:
    result = taken(known, day(9, "* REPLACE (CAST(distance * 1.609 AS BIGINT) AS distance)"))
    assert result.state is BatchState.REFUSED
    assert re.search(r"mean.*distance.*earlier batches", str(result.reason))


def test_far_more_rows_than_usual_block_and_far_fewer_warn(known: Stores) -> None:
    few = taken(known, day(9, limit=5))
    assert few.state is BatchState.ARCHIVED
    assert "a tenth of the rows" in str(few.reason)
    many = "\n".join(
        [day(10).decode().splitlines()[0]]
        + [
            re.sub(r"^(\w+),\d+,", rf"\1,{number + 1},", line)
            for number in range(11)
            for line in day(10).decode().splitlines()[1:]
        ]
    )
    result = taken(known, many.encode())
    assert result.state is BatchState.REFUSED


def test_a_late_file_is_taken_with_a_warning(known: Stores) -> None:
    result = taken(known, day(20))
    assert result.reason is None
    late = taken(known, day(8))
    assert late.state is BatchState.ARCHIVED
    assert "came late" in str(late.reason)


def test_without_a_history_nothing_is_held_against_it(stores: Stores) -> None:
    assert taken(stores, day(1, "* REPLACE (CAST(distance * 1.609 AS BIGINT) AS distance)")).silver > 500
