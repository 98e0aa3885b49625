"""Rules of the arrival trigger, the alerts and how a stage's errors reach Airflow."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.contracts import EvergreenError, NothingToDo, TransientError
from pipelines.settings import settings


def first_event(trigger, act) -> list[str]:
    """The files of the first event after `act`, within five seconds."""

    async def listen() -> list[str]:
        stream = trigger.run()
        waiting = asyncio.ensure_future(anext(stream))
        act()
        event = await asyncio.wait_for(waiting, 5)
        await stream.aclose()
        return event.payload["files"]

    return asyncio.run(listen())


def test_files_that_land_together_are_announced_in_one_event(tmp_path: Path) -> None:
    from evergreen_airflow.arrivals import LandingTrigger

    def land() -> None:
        for name in (
            "flights_2.csv",
            "flights_1.csv",
            "weather_1.csv",
            ".flights_3.csv",
            "flights_4.csv.tmp",
        ):
            (tmp_path / name).write_text("x")

    trigger = LandingTrigger(str(tmp_path), "flights_*.csv*", poll_seconds=0.05)
    assert first_event(trigger, land) == ["flights_1.csv", "flights_2.csv"]


def test_links_and_folders_are_no_files(tmp_path: Path) -> None:
    from evergreen_airflow.arrivals import waiting

    (tmp_path / "flights_dir.csv").mkdir()
    (tmp_path / "real.csv").write_text("x")
    (tmp_path / "flights_link.csv").symlink_to(tmp_path / "real.csv")
    (tmp_path / "flights_1.csv").write_text("x")
    assert [name for name, _, _ in waiting(tmp_path, "flights_*")] == ["flights_1.csv"]


def test_the_trigger_survives_being_written_down(tmp_path: Path) -> None:
    from airflow.sdk.module_loading import import_string
    from evergreen_airflow.arrivals import LandingTrigger

    path, arguments = LandingTrigger(str(tmp_path), "a*", 0.1).serialize()
    again = import_string(path)(**arguments)
    assert (again.folder, again.pattern, again.poll_seconds) == (str(tmp_path), "a*", 0.1)


def test_a_persons_mistake_is_not_retried_and_a_passing_fault_is() -> None:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
    from evergreen_airflow.stages import stage

    def raises(error: Exception):
        raise error

    with pytest.raises(AirflowFailException, match="mend it"):
        stage(raises, EvergreenError("mend it"))
    with pytest.raises(AirflowSkipException, match="nothing"):
        stage(raises, NothingToDo("nothing"))
    with pytest.raises(TransientError):
        stage(raises, TransientError("later"))


def test_a_failed_task_tells_what_broke_and_whether_to_act() -> None:
    from evergreen_airflow.alerts import failed

    task = SimpleNamespace(dag_id="retrain_x", task_id="train")
    failed({"task_instance": task, "run_id": "r", "exception": ValueError("boom")})
    (line,) = (settings().home / "alerts.jsonl").read_text().splitlines()
    alert = json.loads(line)
    assert alert["what"] == "retrain_x.train failed"
    assert "boom" in alert["why"]
    assert alert["act"].startswith("Yes")


@pytest.mark.parametrize(("kind", "said"), [("scheduled", "schedule"), ("asset_triggered", "data event")])
def test_the_trigger_of_a_run_is_told_apart(kind: str, said: str) -> None:
    from evergreen_airflow.stages import trigger_of

    run = SimpleNamespace(run_type=kind)
    assert trigger_of(run, {"reason": None}) == said
    assert trigger_of(run, {"reason": "why not"}) == f"{said}: why not"
