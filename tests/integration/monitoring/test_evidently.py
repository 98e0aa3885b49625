"""Evidently for people: it says what we say, whatever the samples hold, and its workspace hinders nobody."""

import asyncio
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.contracts import DriftFinding, EvergreenError
from pipelines.monitoring.evidently import ui, workspace
from pipelines.monitoring.evidently.snapshot import snapshot
from pipelines.monitoring.moved import Moved
from pipelines.monitoring.pages.drift import Drawn, reported
from pipelines.monitoring.watched import watched
from tests.training_sets import AS_OF, frame, spec

SPEC = spec()
MOVED = Moved((DriftFinding("distance", "input", 1e-9, 1e-4, 0.4, True, "place", True),), 0.9)


def said(*sides: pd.DataFrame) -> Any:
    return tuple(np.linspace(0.01, 0.99, len(side)) for side in sides)


def run(new: pd.DataFrame, old: pd.DataFrame | None = None) -> Any:
    old = frame(400, 0, 1.0) if old is None else old
    return snapshot(SPEC, watched(SPEC, old, new), MOVED, said(old, new), AS_OF, 3)


def failed(found: Any) -> set[str]:
    return {each["name"] for each in found.dict()["tests"] if each["status"] != "SUCCESS"}


@pytest.fixture(scope="module")
def usual() -> Any:
    """Evidently's run of two samples that are alike but for what our test found."""
    return run(frame(400, 1, 1.0))


def test_what_moved_by_our_test_is_the_only_thing_that_evidently_finds(usual: Any) -> None:
    assert len(usual.dict()["tests"]) > 10
    assert {name for name in failed(usual) if "drift" in name.lower()} == failed(usual)
    assert len(failed(usual)) == 1
    assert "distance" in failed(usual).pop()


def test_missing_values_new_levels_and_other_labels_fail_its_tests() -> None:
    new = frame(400, 1, 1.0)
    new["origin_weather__visib"] = new["origin_weather__visib"].mask(np.arange(400) % 2 == 0)
    new["carrier"] = np.where(np.arange(400) % 4 == 0, "ZZ", new["carrier"])
    new["label"] = (np.arange(400) % 10 > 0).astype(int)
    told = " ".join(failed(run(new)))
    for name in ("origin_weather__visib", "carrier", "label"):
        assert f"'{name}'" in told or name in told


def test_the_champions_answers_have_their_quality_in_the_run(usual: Any) -> None:
    assert any(each["metric_name"].startswith("LogLoss") for each in usual.dict()["metrics"])


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_model_of_another_task_has_its_own_quality(task: str) -> None:
    old, new = frame(400, 0, 1.0), frame(400, 1, 1.0)
    classes = ("no", "<yes>", "both") if task == "multiclass" else ()
    for side in (old, new):
        side["label"] = np.arange(400) % 3
    of = SPEC.model_copy(update={"task": task, "label": SPEC.label.model_copy(update={"classes": classes})})
    answers = [np.column_stack([(1 - s) / 2, s, (1 - s) / 2]) if classes else s for s in said(old, new)]
    found = snapshot(of, watched(of, old, new), MOVED, tuple(answers), AS_OF, 3)
    assert any(each["metric_name"].startswith(workspace.LOSS[task]) for each in found.dict()["metrics"])


@pytest.mark.parametrize("value", [np.nan, 1.0, np.inf])
def test_a_column_that_is_missing_or_hardly_varies_does_not_stop_the_report(
    tmp_path: Path, value: float
) -> None:
    old, new = frame(400, 0, 1.0), frame(400, 1, 1.0)
    new["distance"] = value
    new["label"] = 1
    drawn = Drawn(watched(SPEC, old, new), ("all rows",), said(old, new))
    html, plain, found = reported(SPEC, drawn, MOVED, tmp_path, AS_OF)
    assert found is not None
    assert json.loads(plain.read_text())["not_drawn"] is None
    assert html.stat().st_size < 8e6


def test_a_run_is_read_by_evidentlys_own_workspace_in_a_project_with_panels(
    tmp_path: Path, usual: Any
) -> None:
    assert workspace.keep(usual, SPEC, tmp_path, AS_OF, 3)
    from evidently.ui.workspace import Workspace

    shown = Workspace(str(tmp_path))
    (project,) = shown.list_projects()
    assert (project.name, project.description) == (SPEC.name, SPEC.description)
    assert len(project.dashboard.model().panels) == 2
    (found,) = shown.list_runs(project.id)
    assert shown.get_run(project.id, found).timestamp == AS_OF


def runs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/snapshots/*.json"))


def test_the_same_look_is_one_run_and_only_the_newest_are_kept(tmp_path: Path, usual: Any) -> None:
    for day in (5, 0, 1, 2, 2, *range(3, workspace.KEPT + 4)):
        assert workspace.keep(usual, SPEC, tmp_path, AS_OF + timedelta(days=day), 3)
    assert len(runs(tmp_path)) == workspace.KEPT
    oldest = runs(tmp_path)[0]
    assert oldest.stem == str(workspace._run(SPEC.name, AS_OF + timedelta(days=4), 3))


def test_what_people_change_in_the_dashboard_stays(tmp_path: Path, usual: Any) -> None:
    workspace.keep(usual, SPEC, tmp_path, AS_OF, 3)
    (dashboard,) = tmp_path.glob("*/dashboard.json")
    dashboard.write_text('{"tabs": [], "panels": []}')
    workspace.keep(usual, SPEC, tmp_path, AS_OF + timedelta(days=1), 3)
    assert json.loads(dashboard.read_text()) == {"tabs": [], "panels": []}


def test_monitors_at_once_leave_whole_files_and_nothing_else(tmp_path: Path, usual: Any) -> None:
    days = [day % 6 for day in range(24)]
    with ThreadPoolExecutor(8) as pool:
        done = pool.map(lambda d: workspace.keep(usual, SPEC, tmp_path, AS_OF + timedelta(days=d), 3), days)
        assert all(done)
    assert len(runs(tmp_path)) == 6
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(json.loads(path.read_text()) for path in files)
    assert len(files) == 8


def test_a_workspace_that_cannot_be_written_is_told_by_kind_and_raises_nothing(
    tmp_path: Path, usual: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "evidently").write_text("a file")
    assert not workspace.keep(usual, SPEC, tmp_path / "evidently", AS_OF, 3)
    assert "(NotADirectoryError)" in caplog.text or "(FileExistsError)" in caplog.text


def test_files_that_are_broken_are_put_aside_before_the_ui_reads_them(tmp_path: Path, usual: Any) -> None:
    workspace.keep(usual, SPEC, tmp_path, AS_OF, 3)
    (whole,) = runs(tmp_path)
    broken = whole.with_name(f"0{whole.name[1:-6]}00.json")
    broken.write_text(whole.read_text()[:100])
    assert ui.put_aside(tmp_path) == [broken.with_suffix(".broken")]
    assert runs(tmp_path) == [whole]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8085", 200),
        ("localhost:8085", 200),
        ("evil.example:8085", 421),
        ("", 421),
        ("127.0.0.1", 421),
    ],
)
def test_the_ui_answers_who_names_this_machine_alone(host: str, status: int) -> None:
    sent: list[dict[str, Any]] = []

    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"status": 200})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"host", host.encode())]}
    asyncio.run(ui.at_home(app)(scope, None, send))
    assert sent[0]["status"] == status


def test_a_port_that_is_taken_is_named_with_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(EvergreenError, match="evergreen evidently --port"):
            ui.serve(tmp_path, other.getsockname()[1], print)


def test_nothing_is_told_to_evidently() -> None:
    assert os.environ["DO_NOT_TRACK"]
    from evidently.telemetry import event_logger

    assert not event_logger.is_enabled()
