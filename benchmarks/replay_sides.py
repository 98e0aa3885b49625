"""The two loops that are replayed: what each does before the first day, and on a day.

Both run each task in a process forked from one that holds what their Airflow's scheduler holds. Tasks that Airflow
would run beside each other run beside each other.
"""

import shutil
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.loop_sides import Side
from benchmarks.stock_dag.places import Home
from benchmarks.stock_dag.training import split
from pipelines.catalog import datasets
from pipelines.settings import PROJECT

MODEL = "flight_delays"
LABELS = ["carrier", "origin", "dest", "tailnum", "scheduled_departure", "scheduled_arrival", "distance"]
LABELS += ["event_timestamp", "label_known_at", "split", "label"]
Day = dict[str, Any]


def owner(file: Path) -> str:
    """The dataset of a landed file."""
    return file.name.rsplit("_", 2)[0]


def midnight(day: date) -> str:
    """When a day begins, in UTC."""
    return f"{day}T00:00:00+00:00"


class Replayed(Side):
    """A side in this checkout's environment, that can go back to the end of an earlier day."""

    def __init__(self, name: str, home: Path) -> None:
        super().__init__(name, PROJECT, home)

    @property
    def _python(self) -> Path:
        return Path(sys.executable)

    def calm(self, steps: dict[str, Any]) -> dict[str, Any]:
        """What was found, with what each step took since the last time."""
        took, self.took = self.took, {}
        return steps | {"took": {name: vars(each) for name, each in took.items()}}

    def restore(self, kept: Path) -> None:
        """The home as it was kept, or an empty one."""
        shutil.rmtree(self.home, ignore_errors=True)
        if kept.exists():
            shutil.copytree(kept, self.home, symlinks=True)


class Ours(Replayed):
    """Evergreen's own steps."""

    def history(self, files: list[Path], days: list[date]) -> Day:
        """Take in what landed before the first day, and make its first champion."""
        return self.day(days[-1], files)

    def day(self, day: date, files: list[Path]) -> Day:
        """Everything from the landed files of a day to the monitor."""
        as_of, now = midnight(day + timedelta(days=1)), f"{day + timedelta(days=1)}T06:00:00+00:00"
        accepted = self._ingested(files)
        self.run("features", {"step": "features", "args": [as_of]})
        asked = {"woken": "data event", "reason": None, "now": now, "as_of": as_of}
        (plan,) = self.run("plan", {"step": "plan", "args": [MODEL], "named": asked})
        (rows,) = self.run("training set", {"step": "training_set", "args": [MODEL, plan["as_of"]]})
        fit = {"step": "train", "args": [MODEL, rows, plan], "named": {"now": now}}
        made, _ = self.run("train", fit, {"step": "rebuild", "args": [MODEL, rows]})
        judge = {"step": "evaluate", "args": [MODEL, made, rows], "named": {"now": now}}
        (verdict,) = self.run("evaluate", judge)
        move = {"step": "promote", "args": [MODEL, made["version"]], "named": {"now": now}}
        (moved,) = self.run("promote", move)
        shown = {"step": "report", "args": [MODEL, made["version"], rows]}
        seen = {"step": "monitor", "args": [MODEL, as_of], "named": {"now": now}}
        watched = (
            moved["promoted"] or verdict["champion_version"] is not None
        )  # a first candidate may have failed
        self.run("report", shown, *([seen] if watched else []))
        said = f"{verdict['decision']}, {'promoted' if moved['promoted'] else 'kept'}"
        return self.calm({"accepted": accepted, "rows": rows["path"], "as_of": as_of, "said": said})

    def _ingested(self, files: list[Path]) -> dict[str, int]:
        self.take(files)
        names = sorted({owner(file) for file in files})
        found = self.run("ingest", *({"step": "ingest", "args": [name]} for name in names))
        return {name: sum(file["silver"] for file in each) for name, each in zip(names, found, strict=True)}


class Stock(Replayed):
    """The loop of the tools' own tutorials."""

    def _command(self) -> list[str]:
        return [str(self._python), "-m", "benchmarks.stock_dag.driver"]

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {
            "STOCK_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }

    def history(self, files: list[Path], days: list[date]) -> Day:
        """Take in what landed before the first day, and make its first champion."""
        self.take(files)
        spans = {owner(f): "_".join(f.stem.rsplit("_", 2)[1:]) for f in files if owner(f) != "airports"}
        (accepted,) = self.run(
            "history", {"step": "history", "args": [[midnight(each) for each in days], spans]}
        )
        return self._learned(days[-1], accepted)

    def day(self, day: date, files: list[Path]) -> Day:
        """Everything from the landed files of a day to the report."""
        self.take(files)
        names = sorted({owner(file) for file in files})
        landed = self.run("ingest", *({"step": "ingest", "args": [name, midnight(day)]} for name in names))
        self.run("features", {"step": "features", "args": [midnight(day)]})
        self.run("training set", {"step": "training_set", "args": [midnight(day)]})
        online = {
            "step": "materialize",
            "args": [midnight(day)],
        }  # Feast joins nothing while values go online
        return self._learned(day, {each["dataset"]: each["rows"] for each in landed}, online)

    def _learned(self, day: date, accepted: dict[str, int], *beside: dict[str, Any]) -> Day:
        made, *_ = self.run("train", {"step": "train", "args": [midnight(day)]}, *beside)
        (moved,) = self.run("evaluate", {"step": "evaluate_and_promote", "args": [made, midnight(day)]})
        self.run("report", {"step": "report", "args": [midnight(day)]})
        said = "promoted" if moved["promoted"] else "kept"
        rows = str(Home(self.home).training_table)
        as_of = midnight(day + timedelta(days=1))
        return self.calm({"accepted": accepted, "rows": rows, "as_of": as_of, "said": said})


def labels(found: Day) -> pd.DataFrame:
    """The rows that a side learned from and held out that day, in one order, with all their features."""
    rows = pd.read_parquet(found["rows"])
    if "split" not in rows:
        learned, held = split(rows, datetime.fromisoformat(found["as_of"]))
        rows = pd.concat([learned.assign(split="train"), held.assign(split="holdout")])
    for name in rows.select_dtypes(["datetime", "datetimetz"]):
        rows[name] = rows[name].dt.tz_convert("UTC").astype("datetime64[us, UTC]")
    rows = rows.astype({"label": "int64", "distance": "float64"}).astype(dict.fromkeys(LABELS[:4], "object"))
    return rows.sort_values(LABELS, ignore_index=True)


def reference_free(files: list[Path]) -> list[Path]:
    """Without the registers, which land once."""
    return [file for file in files if not datasets()[owner(file)].reference]
