"""Rules of the one database for texts: nothing stays in it, others do not meet in it, and a fork opens its own."""

import os
import threading

import pyarrow as pa

from pipelines.reading.texts import _database, answered

COUNT = "SELECT count(*) AS n, max(x) AS x FROM texts"


def test_each_question_sees_its_own_texts_also_beside_others() -> None:
    found = dict[int, list[dict[str, object]]]()

    def ask(number: int) -> None:
        for _ in range(50):
            found.setdefault(number, []).extend(
                answered(COUNT, pa.table({"x": [str(number)] * number})).to_pylist()
            )

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(1, 5)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert found == {number: [{"n": number, "x": str(number)}] * 50 for number in range(1, 5)}


def test_nothing_is_kept() -> None:
    answered(COUNT, pa.table({"x": ["a"]}))
    left = _database(os.getpid()).execute(
        "SELECT count(*) FROM duckdb_tables() UNION ALL SELECT count(*) FROM duckdb_views() WHERE NOT internal"
    )
    assert left.fetchall() == [(0,), (0,)]


def test_times_are_those_of_utc() -> None:
    said = answered(
        "SELECT hour(x::TIMESTAMPTZ) AS h FROM texts", pa.table({"x": ["2013-01-05T10:00:00+02:00"]})
    )
    assert said.to_pylist() == [{"h": 8}]


def test_a_process_that_was_forked_asks_a_database_of_its_own() -> None:
    answered(COUNT, pa.table({"x": ["a"]}))
    child = os.fork()
    if child == 0:  # asserts would be raised into another's test
        right = answered(COUNT, pa.table({"x": ["b", "c"]})).to_pylist() == [{"n": 2, "x": "c"}]
        os._exit(0 if right and _database.cache_info().currsize == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
