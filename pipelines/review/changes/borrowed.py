"""One side's model trained on a copy of a home, by a process that has that side's files instead of ours."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import places
from pipelines.contracts import EvergreenError
from pipelines.review.changes.sides import FOLDERS, Side
from pipelines.scaffold.project import copied
from pipelines.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
"""Of the environment: no setting and no secret reaches code of another revision."""


@dataclass(frozen=True)
class Answers:
    """The held-out rows as label.sql asks them, with `label`, `said` and `baseline`."""

    rows: "pd.DataFrame"


def answered(
    model: str, side: Side, as_of: datetime, holdout: timedelta, settings: Settings, place: Path
) -> Answers:
    """What one side's model says of its held-out rows; EvergreenError says why it cannot be made."""
    import pandas as pd

    project, home, target = place / "project", place / "home", place / "answers.parquet"
    project.mkdir(parents=True)
    _written(copied(project), side)
    lent(settings, home)
    asked = {
        "model": model, "as_of": as_of.isoformat(), "holdout": holdout.total_seconds(), "target": str(target),
        "threads": settings.threads,
    }  # fmt: skip
    _run(project, home, asked, side.name)
    return Answers(pd.read_parquet(target))


def _written(project: Path, side: Side) -> None:
    """The side's files in place of ours."""
    for folder in FOLDERS:
        shutil.rmtree(project / folder, ignore_errors=True)
    for path, content in side.files.items():
        target = (project / path).resolve()
        if not target.is_relative_to(project.resolve()):
            raise EvergreenError(f"{side.name}: {path} lies outside of the project")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def lent(settings: Settings, home: Path) -> None:
    """A copy of what a home knows of its data: its database, and tables by links, for their files never change."""
    lake = places.local(settings.lake_uri)
    if lake is None or settings.database_url is not None:
        raise EvergreenError(
            "only a home whose lake and database lie on this disk can be lent to a measurement"
        )
    source = settings.home / "evergreen.db"
    if not source.is_file() or not lake.is_dir():
        raise EvergreenError(
            "nothing has landed in this home; `evergreen replay` or a file in its landing folder does"
        )
    home.mkdir(parents=True)
    shutil.copytree(lake, home / "lake", copy_function=_linked)
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as ours,
        closing(sqlite3.connect(home / "evergreen.db")) as theirs,
    ):
        ours.backup(theirs)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)


def _run(project: Path, home: Path, asked: dict[str, object], name: str) -> None:
    kept = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.review.changes.measured", json.dumps(asked)],
        cwd=project,
        env=kept | {"PYTHONPATH": str(project), "EVERGREEN_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line.strip().replace(f"{project}/", "") for line in done.stderr.splitlines() if line.strip()]
        raise EvergreenError(f"{name} cannot be trained on it: {lines[-1] if lines else done.returncode}")
