"""One fault after another while files land and questions are asked, and how long each was felt."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from pipelines.contracts import EvergreenError
from tests.production.airflow import Airflow, Task
from tests.production.asker import Asked, Asker
from tests.production.machine import service_of
from tests.production.promise import Landed, taken
from tests.production.services import until
from tests.production.site import Site, Tell

T = TypeVar("T")
AT_WORK, RECOVERED = 300, 600
"""Seconds within which tasks are at work after files landed, and after which a fault counts as not recovered from."""
KILLED = ("airflow-worker", "airflow-scheduler", "redis", "postgres", "objects", "mlflow")


@dataclass(frozen=True)
class Felt:
    """What a fault did: who ended with it, seconds until tasks finish again, until the files were in, until answers
    came again (0: they never stopped), and how many of the questions asked had no answer.
    """

    fault: str
    stopped: tuple[str, ...]
    tasks: float | None
    files: float | None
    answers: float | None
    withheld: tuple[str, ...] = ()
    asked: int = 0

    @property
    def recovered(self) -> bool:
        return None not in (self.tasks, self.files, self.answers)


def strike(name: str, files: list[Landed], site: Site, airflow: Airflow, asker: Asker, tell: Tell) -> Felt:
    """Kill a service once tasks are at work, and wait until all is as before; what was felt of it meanwhile."""
    until("a task is at work", lambda: bool(_sure(airflow.working)), AT_WORK, 0.1)
    at_work = _sure(airflow.working) or []
    replica = _victim(name, at_work)
    hit = [task for task in at_work if task.where == replica]
    ends = {each: len(one.ends) for each, one in site.replicas.items()}
    tell(f"killing {replica} while {', '.join(f'{t.dag}.{t.task}' for t in at_work) or 'nothing'} runs")
    begun = site.replicas[replica].kill()
    reached = _reached(begun, {
        "tasks": lambda: _finished(airflow, begun, hit),
        "files": lambda: bool(_sure(lambda: taken(files, site.stores))),
        "answers": lambda: _answers(asker, begun),
    })  # fmt: skip
    ended = time.time()
    asked = [each for each in list(asker.asked) if begun <= each.at < ended]
    return Felt(
        fault=f"{name} killed",
        stopped=tuple(n for n, one in site.replicas.items() if len(one.ends) > ends[n] and n != replica),
        tasks=reached.get("tasks"),
        files=reached.get("files"),
        answers=reached.get("answers")
        and max((_end(each) - begun for each in asked if not each.answer), default=0.0),
        withheld=tuple(each.why for each in asked if not each.answer),
        asked=len(asked),
    )


def _reached(begun: float, wanted: dict[str, Callable[[], bool]]) -> dict[str, float]:
    """After how many seconds each condition held for the first time; those that never did are left out."""
    reached: dict[str, float] = {}

    def all_hold() -> bool:
        for name, holds in wanted.items():
            if name not in reached and holds():
                reached[name] = time.time() - begun
        return len(reached) == len(wanted)

    with suppress(EvergreenError):
        until("recovery", all_hold, RECOVERED, 0.5)
    return reached


def _end(asked: Asked) -> float:
    return asked.at + asked.seconds


def _victim(name: str, at_work: list[Task]) -> str:
    """The replica to kill: of workers the one that works."""
    return next((task.where for task in at_work if service_of(task.where) == name), f"{name}-1")


def _finished(airflow: Airflow, since: float, hit: list[Task]) -> bool:
    """Whether a task that began after the fault has ended well, and those that were hit have too."""
    tasks = _sure(lambda: airflow.tasks("end_date > to_timestamp(:since)", since=since)) or []
    again = {task.key for task in tasks if task.state in {"success", "skipped"}}
    fresh = any(task.began and task.began > since for task in tasks if task.key in again)
    return fresh and {task.key for task in hit} <= again


def _answers(asker: Asker, since: float) -> bool:
    """Whether the newest questions since the fault were answered, a second's worth."""
    newest = [each for each in list(asker.asked) if each.at >= since][-4:]
    return len(newest) == 4 and all(each.answer is not None for each in newest)


def _sure(ask: Callable[[], T]) -> T | None:
    """The answer; None while PostgreSQL or another store is gone."""
    try:
        return ask()
    except (SQLAlchemyError, OSError):
        return None
