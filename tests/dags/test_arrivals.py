"""Rules of what wakes ingestion: files that come to rest, what a trigger remembers, sensors and queues."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import BatchState, IngestResult
from pipelines.settings import settings
from pipelines.stores import Stores
from tests.dags.conftest import PROJECT

SECONDS = 5
FLIGHTS = "flights_*.csv*"


class Memory:
    """What Airflow keeps for an asset, outliving the trigger."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def aget(self, key: str) -> Any:
        return self.kept.get(key)

    async def aset(self, key: str, value: Any) -> None:
        self.kept[key] = value


class Broken(Memory):
    async def aget(self, key: str) -> Any:
        raise RuntimeError("no database")

    async def aset(self, key: str, value: Any) -> None:
        raise RuntimeError("no database")


def trigger(folder: Path, memory: Memory | None = None, remind: float = 60.0) -> Any:
    from evergreen_airflow.arrivals import LandingTrigger

    made = LandingTrigger(str(folder), FLIGHTS, poll_seconds=0.02, remind_seconds=remind)
    made.asset_state_store = memory
    return made


def events(made: Any, *acts: Callable[[], object]) -> list[list[str]]:
    """The files of one event after each act."""

    async def listen() -> list[list[str]]:
        stream, heard = made.run(), []
        for act in acts:
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            act()
            heard.append((await asyncio.wait_for(waiting, SECONDS)).payload["files"])
        # Resumed once more, so that what follows an event has been done too.
        last = asyncio.ensure_future(anext(stream))
        await asyncio.wait({last}, timeout=0.1)
        last.cancel()
        await asyncio.gather(last, return_exceptions=True)
        return heard

    return asyncio.run(listen())


def land(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("x")


def test_files_that_land_together_are_announced_in_one_event(tmp_path: Path) -> None:
    mixed = ("flights_2.csv", "flights_1.csv", "weather_1.csv", ".flights_3.csv", "flights_4.csv.tmp")
    staged, landing = tmp_path / "staged", tmp_path / "landing"
    staged.mkdir()
    land(staged, *mixed)
    heard = events(trigger(landing), lambda: staged.rename(landing))
    assert heard == [["flights_1.csv", "flights_2.csv"]]


def test_a_file_that_still_grows_does_not_hold_back_those_that_are_still(tmp_path: Path) -> None:
    from evergreen_airflow.arrivals import LandingTrigger, lying, matching

    async def heard() -> list[str]:
        async def looks() -> Any:
            for _ in range(50):
                with (tmp_path / "flights_growing.csv").open("a") as file:
                    file.write("more\n")
                yield lying(str(tmp_path))

        event = await anext(LandingTrigger(str(tmp_path), FLIGHTS).filter_shared_stream(looks()))
        return event.payload["files"]

    land(tmp_path, "flights_still.csv")
    assert len(matching(lying(str(tmp_path)), FLIGHTS)) == 1
    assert asyncio.run(heard()) == ["flights_still.csv"]


def test_links_folders_and_names_that_cannot_be_printed_are_no_files(tmp_path: Path) -> None:
    from evergreen_airflow.arrivals import lying

    (tmp_path / "flights_dir.csv").mkdir()
    land(tmp_path, "real.csv", "flights_1.csv", "-flights.csv", "flights_\n.csv")
    (tmp_path / "flights_link.csv").symlink_to(tmp_path / "real.csv")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/flights_\xff.csv"))).write_text("x")
    assert sorted(name for name, _, _ in lying(str(tmp_path))) == ["flights_1.csv", "real.csv"]
    assert lying(str(tmp_path / "missing")) == frozenset()


def test_what_was_told_is_remembered_across_a_restart(tmp_path: Path) -> None:
    memory = Memory()
    assert events(trigger(tmp_path, memory), lambda: land(tmp_path, "flights_1.csv")) == [["flights_1.csv"]]
    assert memory.kept
    quiet = trigger(tmp_path, memory)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(anext(quiet.run()), 0.3))
    again = events(trigger(tmp_path, memory), lambda: land(tmp_path, "flights_2.csv"))
    assert again == [["flights_1.csv", "flights_2.csv"]]


def test_a_file_that_nobody_took_is_announced_again(tmp_path: Path) -> None:
    """A lost event costs at most the reminder, also after a restart."""
    land(tmp_path, "flights_1.csv")
    heard = events(trigger(tmp_path, remind=0.2), lambda: None, lambda: None)
    assert heard == [["flights_1.csv"]] * 2
    memory = Memory()
    events(trigger(tmp_path, memory), lambda: None)
    memory.kept["told"]["at"] -= 61
    assert events(trigger(tmp_path, memory), lambda: None) == [["flights_1.csv"]]


def test_a_file_that_left_and_comes_back_is_announced_even_if_it_looks_the_same(tmp_path: Path) -> None:
    file, aside = tmp_path / "flights_1.csv", tmp_path / ".aside"

    async def heard() -> int:
        from evergreen_airflow.arrivals import LandingTrigger, lying

        async def looks() -> Any:
            for step in range(6):
                if step == 2:
                    file.rename(aside)
                if step == 4:
                    aside.rename(file)
                yield lying(str(tmp_path))
            yield lying(str(tmp_path))

        return len(
            [event async for event in LandingTrigger(str(tmp_path), FLIGHTS).filter_shared_stream(looks())]
        )

    land(tmp_path, "flights_1.csv")
    assert asyncio.run(heard()) == 2


@pytest.mark.parametrize("kept", ["nonsense", {"at": "never", "files": [[1]]}, {"files": []}])
def test_a_memory_that_cannot_be_read_or_written_stops_nothing(tmp_path: Path, kept: Any) -> None:
    land(tmp_path, "flights_1.csv")
    memory = Memory()
    memory.kept["told"] = kept
    assert events(trigger(tmp_path, memory), lambda: None) == [["flights_1.csv"]]
    assert events(trigger(tmp_path, Broken()), lambda: None) == [["flights_1.csv"]]


def test_many_files_make_a_small_event_and_a_small_memory(tmp_path: Path) -> None:
    from airflow.configuration import conf
    from evergreen_airflow.arrivals import NAMED

    memory = Memory()
    land(tmp_path, *(f"flights_{number:04}_{'long' * 10}.csv" for number in range(1000)))
    (heard,) = events(trigger(tmp_path, memory), lambda: None)
    assert len(heard) == NAMED
    assert len(json.dumps(memory.kept["told"])) < conf.getint("state_store", "max_value_storage_bytes")


def test_triggers_on_one_folder_share_one_look(tmp_path: Path) -> None:
    from evergreen_airflow.arrivals import LandingTrigger

    one, two = (LandingTrigger(str(tmp_path), pattern) for pattern in ("a*", "b*"))
    assert one.shared_stream_key() == two.shared_stream_key()
    assert one.shared_stream_key() != LandingTrigger(str(tmp_path / "else"), "a*").shared_stream_key()


def test_a_trigger_survives_being_written_down(tmp_path: Path) -> None:
    from airflow.sdk.module_loading import import_string
    from evergreen_airflow.arrivals import LandingTrigger
    from evergreen_airflow.sensors import LandedTrigger

    for made in (LandingTrigger("f", "a*", 0.1, 7.0), LandedTrigger("flights", "f", "a*", 3, 0.1)):
        path, arguments = made.serialize()
        assert import_string(path)(**arguments).serialize() == (path, arguments)


def committed(name: str, digest: str) -> None:
    from pipelines.contracts import Batch

    ledger = Stores(settings()).ledger
    ledger.see(Batch(digest, "flights", name, 1))
    ledger.record(IngestResult(digest, "flights", name, BatchState.COMMITTED))


def waited(known: int, file: str, act: Callable[[], object]) -> list[str]:
    from evergreen_airflow.sensors import LandedTrigger

    folder = settings().landing_path
    folder.mkdir(parents=True, exist_ok=True)
    made = LandedTrigger("flights", str(folder), file, known, 0.02)

    async def one() -> list[str]:
        waiting = asyncio.ensure_future(anext(made.run()))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await asyncio.to_thread(act)
        return (await asyncio.wait_for(waiting, SECONDS)).payload["files"]

    return asyncio.run(one())


def test_the_sensor_sees_a_file_that_lies_there_or_that_was_taken_in_meanwhile() -> None:
    assert waited(0, FLIGHTS, lambda: land(settings().landing_path, "flights_1.csv")) == ["flights_1.csv"]
    (settings().landing_path / "flights_1.csv").unlink()
    committed("flights_1.csv", "a" * 64)
    assert waited(1, FLIGHTS, lambda: committed("flights_2.csv", "b" * 64)) == ["flights_2.csv"]


WAITS = """
from airflow.sdk import DAG
from evergreen_airflow.sensors import LandingSensor

with DAG("waits_for_flights", schedule=None) as dag:
    LandingSensor(task_id="wait", dataset="flights", poll_seconds=0.05, timeout=30)
"""


def test_a_sensor_defers_until_a_file_lands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real deferral: the task parks, Airflow's trigger machinery runs, the task resumes with the names."""
    import airflow.utils.db
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "waits.py").write_text(WAITS)
    bundle = {"classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
    bundles = [{"name": "own", **bundle, "kwargs": {"path": str(tmp_path / "dags")}}]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
    airflow.utils.db.initdb()
    landing = settings().landing_path
    landing.mkdir(parents=True)
    timer = threading.Timer(1.0, land, (landing, "flights_9.csv"))
    timer.start()
    try:
        run = DagBag(str(tmp_path / "dags")).dags["waits_for_flights"].test()
    finally:
        timer.join()
    (task,) = run.get_task_instances()
    assert task.state == "success"
    assert task.xcom_pull(task_ids="wait") == ["flights_9.csv"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("redis+pubsub://landing", r"install evergreen\[production\]"),
        ("kafka://landing.{dataset}", r"install evergreen\[production\]"),
        ("carrier-pigeon://landing", r"must look like kafka://name or redis\+pubsub://name"),
        ("kafka://", "must look like"),
    ],
)
def test_a_queue_that_cannot_work_is_an_import_error_that_names_the_remedy(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    for module in (
        "airflow.providers.common.messaging",
        "airflow.providers.common.messaging.triggers.msg_queue",
    ):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("EVERGREEN_ARRIVAL_QUEUE", address)
    settings.cache_clear()
    bag = DagBag(str(PROJECT / "dags" / "ingest.py"))
    (error,) = bag.import_errors.values()
    assert __import__("re").search(said, error)


def test_the_sweep_of_every_dataset_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("EVERGREEN_ARRIVAL_SWEEP", "* * * * * */20")
    settings.cache_clear()
    bag = DagBag(str(PROJECT / "dags" / "ingest.py"))
    assert bag.import_errors == {}
    assert bag.dags
    for dag in bag.dags.values():
        assert "*/20" in dag.timetable.timetable.expression


def test_what_arrives_on_an_object_store_is_announced_as_well(tmp_path: Path) -> None:
    from evergreen_airflow.arrivals import lying

    (tmp_path / "inbox" / "deep").mkdir(parents=True)
    (tmp_path / "landing").mkdir()
    for name in (
        "inbox/flights_1.csv",
        "inbox/.hidden",
        "inbox/half.part",
        "inbox/deep/x.csv",
        "landing/flights_2.csv",
    ):
        (tmp_path / name).write_text("x")
    found = lying(str(tmp_path / "landing"), str(tmp_path / "inbox"))
    assert sorted(name for name, _, _ in found) == ["flights_1.csv", "flights_2.csv"]
    assert lying(str(tmp_path / "landing"), "s9://nobody/speaks") == lying(str(tmp_path / "landing"))
