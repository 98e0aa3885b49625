"""The proof of ingestion tries something, holds, and does not hold once ingestion is sabotaged."""

from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pipelines.contracts import EvergreenError
from pipelines.prove.exports import Export, Exporter
from pipelines.prove.forks import Home, ingest_all
from pipelines.prove.ingestion import clean_run, day, kill_at, prove, spread
from pipelines.prove.ingestion.homes import State
from pipelines.prove.ingestion.syscalls import Call, Fault, watchable
from pipelines.stores import tables
from pipelines.stores.tables import Tables

watched = pytest.mark.skipif(not watchable(), reason="this machine hands no system calls over")
APPEND = Tables.append


def ingest_without_transactions(home: Home) -> object:
    """Sabotage: a commit does not know whether it was made before."""

    def append(self: Tables, layer: str, name: str, data: Any, *_: Any) -> bool:
        return APPEND(self, layer, name, data, uuid4().hex)

    Tables.append, Tables.committed = append, lambda *_: None  # type: ignore[method-assign,assignment]
    return ingest_all(home)


def ingest_without_fsync(home: Home) -> object:
    """Sabotage: nothing is brought to disk."""
    tables.flush = lambda *_: None  # type: ignore[attr-defined]
    return ingest_all(home)


def ingest_without_quarantine(home: Home) -> object:
    """Sabotage: bad rows are counted and thrown away."""

    def append(self: Tables, layer: str, *rest: Any) -> bool:
        return layer == "quarantine" or APPEND(self, layer, *rest)

    Tables.append = append  # type: ignore[method-assign]
    return ingest_all(home)


def after_the_silver_commit(calls: list[Call]) -> Fault:
    """Death between the commit of the first file's rows and the ledger's word for it."""
    [commit] = [i for i, call in enumerate(calls) if call == Call("linkat", f"{LOG}/{1:020}.json")]
    return Fault(commit + 1)


LOG = "lake/silver/flights/_delta_log"


@pytest.fixture(scope="module")
def files() -> list[Export]:
    """One small file with every kind of row."""
    return list(islice(Exporter(0).files(), 1))


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory, files: list[Export]) -> tuple[State, list[Call]]:
    """What the file ends as if nothing is sabotaged and nobody killed, and the calls that this takes."""
    return clean_run(tmp_path_factory.mktemp("peace"), files, ingest_all)


@watched
def test_the_promise_holds_where_writers_are_killed() -> None:
    said: list[str] = []
    proof = prove(4, 3, 0, said.append)
    random, *calls = proof.rows
    assert (random["kills"], random["files"] > 1, random["lines"] > 50) == (4, True, True)
    assert sum(row["kills"] for row in calls) == 3
    assert sum(row["calls"] for row in calls) > 100
    assert said
    assert proof.failures == []
    assert proof.holds


@watched
def test_a_run_in_peace_makes_every_kind_of_call_we_kill_at(tmp_path: Path) -> None:
    _, calls = clean_run(tmp_path, day(0), ingest_all)
    assert {call.name for call in calls} >= {
        "fsync",
        "fdatasync",
        "rename",
        "linkat",
        "write",
        "pwrite64",
        "unlink",
    }
    assert any(call.path.startswith("lake/silver/weather/part-") for call in calls)
    assert any(call.path.startswith("evergreen.db") for call in calls)


@watched
def test_rows_written_again_are_found(
    tmp_path: Path, files: list[Export], peace: tuple[State, list[Call]]
) -> None:
    for work in (ingest_all, ingest_without_transactions):
        clean, calls = peace if work is ingest_all else clean_run(tmp_path / work.__name__, files, work)
        trial = kill_at(
            tmp_path / work.__name__ / "trial", files, clean, after_the_silver_commit(calls), work
        )
        assert trial.killed
        assert bool(trial.found.doubled) == bool(trial.unlike) == (work is not ingest_all)


@watched
def test_rows_that_never_reached_the_disk_are_found(
    tmp_path: Path, files: list[Export], peace: tuple[State, list[Call]]
) -> None:
    for work in (ingest_all, ingest_without_fsync):
        clean, calls = peace if work is ingest_all else clean_run(tmp_path / work.__name__, files, work)
        trial = kill_at(tmp_path / work.__name__ / "trial", files, clean, Fault(len(calls) - 1), work)
        assert trial.killed
        assert bool(trial.unsafe) == (work is not ingest_all)


@watched
def test_rows_thrown_away_are_found(tmp_path: Path, files: list[Export]) -> None:
    with pytest.raises(EvergreenError, match="is not in quarantine"):
        clean_run(tmp_path, files, ingest_without_quarantine)


def test_exports_have_every_kind_of_row_and_are_the_same_for_one_seed() -> None:
    files = list(islice(Exporter(3).files(), 6))
    assert [file.content for file in files] == [file.content for file in islice(Exporter(3).files(), 6)]
    assert {file.dataset for file in files} == {"flights", "weather"}
    assert sum(file.truth.refused for file in files) == 1
    assert len({file.digest for file in files}) == 5
    rows = [row for file in files for row in file.truth.rows.values()]
    assert len(rows) > len(set(rows)) > 60
    assert all(file.truth.bad for file in files if not file.truth.refused)


@pytest.mark.parametrize(("points", "spots"), [(None, [0, 1, 2, 3]), (2, [0, 2]), (9, [0, 1, 2, 3])])
def test_points_are_spread_evenly(points: int | None, spots: list[int]) -> None:
    assert spread(points, 4) == spots
