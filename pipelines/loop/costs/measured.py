"""Every step is measured as it runs, whoever calls it, and its figure is kept once it has ended.

A figure tells of this machine's clock, also where a replay tells its steps of another time. Of a process that is killed
the running step's figure is lost, and nothing else. Steps that run at once in one process count each other's work.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from pipelines.acting import acting
from pipelines.contracts import NothingToDo, Waiting
from pipelines.loop.costs.meter import Meter
from pipelines.settings import settings
from pipelines.stores import Stores
from pipelines.stores.watching.costs import FAILED, NOTHING, OK, WAITING, Figure

P = ParamSpec("P")
T = TypeVar("T")
RUNNING: ContextVar[Meter | None] = ContextVar("the step that runs", default=None)
LOADED = datetime.now(UTC)
COUNTED = ("rows", "parsed", "answers")
"""Where a step's answer tells of how many rows it was about."""


@dataclass
class Step:
    """A step that runs; `answer` is what it told in the end."""

    stage: str
    kind: str
    subject: str
    answer: Any = None


def accounted(kind: str, stage: str | None = None) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A step of which each run is measured, under its own name or another; its first argument says whose it is."""

    def of(step: Callable[P, T]) -> Callable[P, T]:
        @wraps(step)
        def run(*given: P.args, **named: P.kwargs) -> T:
            subject = "" if kind == "views" else str(given[0] if given else named.get(kind, ""))
            with measured(stage or step.__name__, kind, subject) as running:
                running.answer = answer = step(*given, **named)
            return answer

        return run

    return of


@contextmanager
def measured(stage: str, kind: str, subject: str) -> Iterator[Step]:
    """What is done inside is one run of a step. What steps inside it use is theirs; a child process keeps no figure, as
    its parent's has it."""
    step, began, outer = Step(stage, kind, subject), datetime.now(UTC), RUNNING.get()
    if outer is not None and outer.pid != os.getpid():
        yield step
        return
    meter = Meter(outer)
    before = RUNNING.set(meter)
    outcome, error = FAILED, None
    try:
        yield step
        outcome = _outcome(step.answer)
    except BaseException as failure:
        outcome, error = _failure(failure)
        raise
    finally:
        RUNNING.reset(before)
        _keep(step, meter, began, outcome, error)


def _failure(failure: BaseException) -> tuple[str, str | None]:
    if isinstance(failure, NothingToDo):
        return (WAITING if isinstance(failure, Waiting) else NOTHING), None
    return FAILED, type(failure).__name__


def _outcome(answer: Any) -> str:
    """A sweep that found no file, views that were up to date, and a rollout that bakes end well and did nothing."""
    if isinstance(answer, dict):
        if answer.get("outcome") == "bakes":
            return WAITING
        if {"rows", "failed"} <= set(answer) and not answer["rows"] and not answer["failed"]:
            return NOTHING
    return NOTHING if answer == [] else OK


def _keep(step: Step, meter: Meter, began: datetime, outcome: str, error: str | None) -> None:
    """Whatever goes wrong here, a database that is not there or locked above all, is no fault of the step's."""
    with suppress(Exception):
        used = meter.stop()
        told = step.answer if isinstance(step.answer, dict) else {}
        figure = Figure(
            step.stage, step.kind, step.subject, outcome, began, used.wall, used.cpu, started(), error,
            peak=meter.peak, peak_of=meter.peak_of, read=used.read, written=used.written, rows=counted(step.answer),
            imported=used.imported, version=told.get("version"), parts=dict(told.get("seconds") or {}),
        )  # fmt: skip
        _written(figure)


def _written(figure: Figure) -> None:
    found = settings()
    if found.database_url is None and not found.home.is_dir():
        return  # nobody makes a home to keep a figure in
    Stores(found).costs.add(figure, str(uuid4()), timedelta(days=found.cost_log_days))


def counted(answer: Any) -> int | None:
    """How many rows an answer tells of, as far as it does."""
    if isinstance(answer, list | tuple):
        found = [rows for rows in map(counted, answer) if rows is not None]
        return sum(found) if found else None
    said = answer if isinstance(answer, dict) else getattr(answer, "__dict__", {})
    rows = next((said[name] for name in COUNTED if name in said), None)
    rows = sum(rows.values()) if isinstance(rows, dict) else rows
    return rows if isinstance(rows, int) else None


def started() -> str:
    """By what this run was started: `airflow: dag/run`, or a command and its process."""
    dag, run = os.environ.get("AIRFLOW_CTX_DAG_ID"), os.environ.get("AIRFLOW_CTX_DAG_RUN_ID")
    if dag and run:
        return f"airflow: {dag}/{run}"
    if acting().startswith("airflow: "):
        return acting().split(" for ")[0]
    return f"{command()}, process {os.getpid()} of {LOADED:%Y-%m-%d %H:%M:%S}"


def command() -> str:
    """The name of the program and, of ours, the name of the command; no other word of it, as some are secret."""
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    if program not in {"evergreen", "__main__.py"}:
        return program
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    return (
        f"evergreen {first}"
        if first.replace("-", "").isalpha() and not first.startswith("-")
        else "evergreen"
    )
