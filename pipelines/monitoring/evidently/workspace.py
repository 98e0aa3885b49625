"""The workspace that Evidently's UI shows: a project per model, a run per look of the monitor, the newest kept.

Files are whole or not there, and a run has a name of its own, so that monitors do not need to wait for one another.
"""

import hashlib
import json
import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from pipelines.catalog import ModelSpec
from pipelines.places import whole

log = logging.getLogger(__name__)
KEPT = 30
"""Runs of a project; the UI holds all of them in memory."""
LOSS = {"classification": "LogLoss", "multiclass": "LogLoss", "regression": "RMSE"}


def keep(snapshot: Any, spec: ModelSpec, workspace: Path, as_of: datetime, version: int) -> bool:
    """Add a run to the model's project and forget the oldest; whether it could. What hinders it hinders no other."""
    try:
        project = _project(spec, workspace)
        run = project / "snapshots" / f"{_run(spec.name, as_of, version)}.json"
        _write(run, snapshot.to_snapshot_model().dict())
        for old in sorted(run.parent.glob("????????-*.json"))[:-KEPT]:
            old.unlink(missing_ok=True)
    except Exception as error:
        log.warning("Evidently's project of %s has no run of %s (%s)", spec.name, as_of, type(error).__name__)
        return False
    return True


def project_id(model: str) -> UUID:
    """The project of a model, the same in every workspace."""
    return uuid5(NAMESPACE_URL, f"evergreen:{model}")


def _run(model: str, as_of: datetime, version: int) -> UUID:
    """A run's name, which sorts by its moment."""
    told = hashlib.sha256(f"{model} {version} {as_of.isoformat()}".encode()).hexdigest()
    return UUID(f"{max(0, int(as_of.timestamp() * 1000)):012x}7{told[:3]}8{told[3:18]}")


def _project(spec: ModelSpec, workspace: Path) -> Path:
    """The folder of a model's project; its dashboard is made once, and then belongs to those who look at it."""
    from evidently.sdk.models import ProjectModel

    folder = workspace / str(project_id(spec.name))
    (folder / "snapshots").mkdir(parents=True, exist_ok=True)
    facts = ProjectModel(id=project_id(spec.name), name=spec.name, description=spec.description).dict()
    if not (folder / "dashboard.json").exists():
        _write(folder / "dashboard.json", _dashboard(spec))
    if _read(folder / "metadata.json") != json.loads(_plain(facts)):
        _write(folder / "metadata.json", facts)
    return folder


def _dashboard(spec: ModelSpec) -> dict[str, Any]:
    """Two panels: the share of the columns that moved, and the champion's loss on the sample."""
    from evidently.sdk.models import DashboardModel, DashboardTabModel, PanelMetric
    from evidently.sdk.panels import line_plot_panel

    share = PanelMetric(metric="DriftedColumnsCount", metric_labels={"value_type": "share"}, legend="share")
    lost = PanelMetric(metric=LOSS[spec.task], legend=LOSS[spec.task])
    panels = [
        line_plot_panel("Columns that moved", [share], "share of those compared, by our test of all rows"),
        line_plot_panel("Loss of the champion", [lost], "on the newest labelled rows that were drawn"),
    ]
    tab = DashboardTabModel(title="Monitor", panels=[each.id for each in panels])
    return dict(DashboardModel(tabs=[tab], panels=panels).dict())


def _write(path: Path, facts: Any) -> None:
    """Write a file in one go; a UI that runs looks again at what was touched, and not at what was moved."""
    with whole(path) as part:
        part.write_text(_plain(facts))
    os.utime(path)


def _plain(facts: Any) -> str:
    from evidently.legacy.utils import NumpyEncoder

    return json.dumps(facts, cls=NumpyEncoder)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
