"""The proof of storage meets real faults, holds, and does not hold once errors are swallowed."""

import errno
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import EvergreenError
from pipelines.prove.exports import Export, Exporter
from pipelines.prove.forks import Home, fresh, ingest_all
from pipelines.prove.ingestion import clean_run
from pipelines.prove.ingestion.disks import SMALL, small_disk_run
from pipelines.prove.ingestion.storage import Day, break_at, prove
from pipelines.prove.ingestion.syscalls import Fault, watchable
from pipelines.stores.tables import Tables

watched = pytest.mark.skipif(not watchable(), reason="this machine hands no system calls over")
APPEND = Tables.append


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where nobody may mount a file system."""
    home = fresh(tmp_path_factory.mktemp("disk") / "trial")
    try:
        small_disk_run(ingest_all, home, [], SMALL)
    except EvergreenError as error:
        pytest.skip(str(error))


def ingest_deaf_to_errors(home: Home) -> object:
    """Sabotage: a write that failed counts as written."""

    def append(self: Tables, *rest: Any) -> bool:
        with suppress(Exception):
            APPEND(self, *rest)
        return True

    Tables.append = append  # type: ignore[method-assign]
    return ingest_all(home)


@watched
@pytest.mark.usefixtures("small_disk")
def test_the_promise_holds_on_a_full_disk_and_one_that_reports_errors() -> None:
    proof = prove(1, lambda _: None)
    assert [row["fault"] for row in proof.rows] == [
        "EIO on a change", "ENOSPC", "EIO on a landed file", "full disk",
    ]  # fmt: skip
    assert all(row["hit"] for row in proof.rows)
    assert proof.failures == []
    assert proof.holds


@watched
def test_errors_that_are_swallowed_are_found(tmp_path: Path) -> None:
    files: list[Export] = list(islice(Exporter(0).files(), 1))
    for work in (ingest_all, ingest_deaf_to_errors):
        clean, calls = clean_run(tmp_path / work.__name__, files, work)
        [*_, last] = [i for i, call in enumerate(calls) if call.path.startswith("lake/silver/flights/part-")]
        fault, folder = Fault(last, errno.EIO), tmp_path / work.__name__ / "trial"
        trial = break_at(folder, Day(files, clean, work), "EIO", fault, reading=False)
        assert trial.hit
        assert bool(trial.failures) == (work is not ingest_all)
