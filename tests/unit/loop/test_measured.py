"""Each step is measured once, whoever calls it and however it ends, and no figure holds a step up."""

import inspect
import os
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pipelines.contracts import EvergreenError, NothingToDo, Waiting
from pipelines.loop import rollout, steps
from pipelines.loop.costs import meter
from pipelines.loop.costs.measured import accounted, command, measured, started
from pipelines.stores import Stores
from pipelines.stores.watching.costs import FAILED, NOTHING, OK, WAITING, Figure

NOT_STEPS = {"stores", "moment", "clock", "newest", "something_new", "all_computed"}
"""What only looks at its arguments, or at one record."""
SPIN = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def figures(stores: Stores) -> list[Figure]:
    return stores.costs.between(None, datetime.now(UTC) + timedelta(days=1))


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_every_step_that_a_scheduler_calls_is_measured() -> None:
    found = inspect.getmembers(steps, inspect.isfunction)
    own = {n: f for n, f in found if f.__module__ == steps.__name__ and not n.startswith("_")}
    assert len(own) > 15
    assert {name for name, function in own.items() if not hasattr(function, "__wrapped__")} == NOT_STEPS
    assert hasattr(rollout.look, "__wrapped__")


def test_a_step_is_told_with_its_time_memory_bytes_rows_and_version(stores: Stores) -> None:
    with measured("train", "model", "m") as step:
        held = bytearray(80_000_000)
        spin(0.05)
        step.answer = {"rows": 12, "version": 3}
    del held
    [found] = figures(stores)
    assert (found.stage, found.kind, found.subject, found.outcome) == ("train", "model", "m", OK)
    assert (found.rows, found.version, found.runs) == (12, 3, 1)
    assert found.wall >= 0.05
    assert 0.05 <= found.cpu <= found.wall + 0.05
    assert found.peak is not None
    assert found.peak > 80_000_000
    assert abs(found.began_at - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.skipif(not meter.CLEAR.exists(), reason="the system counts no peak anew")
def test_the_peak_is_that_of_the_step_and_not_of_what_was_before(stores: Stores) -> None:
    held = bytearray(300_000_000)
    del held
    with measured("plan", "model", "m"):
        pass
    [found] = figures(stores)
    assert found.peak_of == "step"
    with open("/proc/self/status") as status:
        [now] = [int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS")]
    assert found.peak is not None
    assert found.peak < now + 150_000_000


def test_where_the_peak_cannot_be_counted_anew_it_is_the_processs_and_says_so(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(meter, "CLEAR", tmp_path / "no" / "such")
    monkeypatch.setattr(meter, "IO", tmp_path / "none")
    with measured("plan", "model", "m"):
        pass
    [found] = figures(stores)
    assert found.peak_of == "process"
    assert found.peak
    assert (found.read, found.written) == (None, None)


def test_processor_seconds_of_threads_and_of_a_child_that_ended_are_counted(stores: Stores) -> None:
    with measured("train", "model", "m"):
        thread = threading.Thread(target=spin, args=(0.3,))
        thread.start()
        thread.join()
    with measured("evaluate", "model", "m"):
        subprocess.run([sys.executable, "-c", SPIN], check=True)
    found = {each.stage: each.cpu for each in figures(stores)}
    assert found["train"] >= 0.3
    assert found["evaluate"] >= 0.3


@pytest.mark.skipif(not meter.IO.exists(), reason="the system counts no bytes")
def test_bytes_read_and_written_are_counted(stores: Stores, tmp_path: Any) -> None:
    with measured("archive", "model", "m"):
        (tmp_path / "file").write_bytes(b"x" * 3_000_000)
        (tmp_path / "file").read_bytes()
    [found] = figures(stores)
    assert found.read is not None
    assert found.written is not None
    assert 3_000_000 <= found.written < 4_000_000
    assert 3_000_000 <= found.read < 4_000_000


def test_what_a_step_inside_another_uses_is_counted_once(stores: Stores) -> None:
    whole = time.process_time()
    with measured("search", "model", "m"):
        spin(0.1)
        with measured("train", "model", "m"):
            spin(0.2)
        spin(0.1)
    whole = time.process_time() - whole
    found = {each.stage: each for each in figures(stores)}
    assert found["train"].cpu >= 0.2
    assert 0.2 <= found["search"].cpu < 0.35
    assert sum(each.cpu for each in found.values()) <= whole
    assert (found["search"].peak or 0) >= (found["train"].peak or 0)


def test_a_child_process_keeps_no_figure_of_its_own_as_its_parents_has_it(stores: Stores) -> None:
    with measured("search", "model", "m"):
        pid = os.fork()
        if pid == 0:
            with measured("train", "model", "m"):
                spin(0.2)
            os._exit(0)
        os.waitpid(pid, 0)
    [found] = figures(stores)
    assert found.stage == "search"
    assert found.cpu >= 0.2


@pytest.mark.parametrize("error", [EvergreenError("no"), ValueError("a fault"), KeyboardInterrupt()])
def test_a_step_that_fails_fails_with_its_own_error_and_is_accounted(
    stores: Stores, error: BaseException
) -> None:
    @accounted("model")
    def train(model: str) -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        train("m")
    assert raised.value is error
    [found] = figures(stores)
    assert (found.subject, found.outcome, found.error) == ("m", FAILED, type(error).__name__)


def test_nothing_to_do_and_waiting_are_told_apart_from_failing(stores: Stores) -> None:
    for error in (NothingToDo("none"), Waiting("later")):
        with pytest.raises(NothingToDo), measured("plan", "model", "m"):
            raise error
    assert {each.outcome for each in figures(stores)} == {NOTHING, WAITING}


@pytest.mark.parametrize("answer", [[], {"rows": {}, "failed": {}, "seconds": {}}, {"outcome": "bakes"}])
def test_sweeps_that_find_nothing_do_not_grow_the_table(stores: Stores, answer: Any) -> None:
    for _ in range(20):
        with measured("ingest", "dataset", "flights") as step:
            step.answer = answer
    found = figures(stores)
    assert len(found) <= 2  # midnight may lie between
    assert sum(each.runs for each in found) == 20
    assert sum(each.wall for each in found) > 0


def test_failures_that_repeat_do_not_grow_the_table(stores: Stores) -> None:
    for _ in range(10):
        with pytest.raises(EvergreenError), measured("ingest", "dataset", "flights"):
            raise EvergreenError("again")
    assert len(figures(stores)) <= 2


def test_what_is_older_than_is_kept_is_forgotten(stores: Stores) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    for days in (0, 5, 11):
        stores.costs.add(Figure("train", "model", "m", OK, now + timedelta(days=days), 1, 1), str(days),
                         timedelta(days=10))  # fmt: skip
    assert [each.began_at.day for each in stores.costs.between(None, now + timedelta(days=20))] == [6, 12]


def test_a_locked_database_holds_no_step_up(stores: Stores) -> None:
    with measured("plan", "model", "m"):
        pass
    other = sqlite3.connect(stores.settings.home / "evergreen.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with measured("train", "model", "m") as step:
        step.answer = {"rows": 1}
    assert time.monotonic() - begun < 4
    other.execute("ROLLBACK")
    assert [each.stage for each in figures(stores)] == ["plan"]
    with measured("evaluate", "model", "m"):
        pass
    assert [each.stage for each in figures(stores)] == ["plan", "evaluate"]


def test_a_database_that_cannot_be_written_fails_no_step(stores: Stores) -> None:
    (stores.settings.home / "evergreen.db").write_bytes(b"no database at all" * 100)
    with measured("train", "model", "m") as step:
        step.answer = {"rows": 1}
    assert step.answer == {"rows": 1}


def test_a_figure_is_one_insert(stores: Stores) -> None:
    """Counted, not timed: two statements in one transaction, on a connection that is there already."""
    with measured("plan", "model", "m"):
        pass
    asked: list[str] = []

    def heard(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        asked.append(text.split()[0])

    sa.event.listen(sa.Engine, "before_cursor_execute", heard)
    try:
        with measured("train", "model", "m"):
            pass
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", heard)
    assert asked == ["INSERT", "DELETE"]


def test_who_started_a_run_is_airflows_run_or_a_command_without_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/evergreen", "train", "--reason", "a secret"])
    for name in ("AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_DAG_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    assert command() == "evergreen train"
    assert started().startswith("evergreen train, process ")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "retrain_m")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "manual__1")
    assert started() == "airflow: retrain_m/manual__1"
