"""One fault after another while files land and questions are asked, and how long each was felt."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from pipelines.contracts import EvergreenError
from tests.production.airflow import Airflow, Task
from tests.production.asker import Asker
from tests.production.machine import service_of
from tests.production.promise import Landed, taken
from tests.production.services import until
from tests.production.site import Site, Tell

T = TypeVar("T")
AT_WORK, RECOVERED = 300, 600
"""Seconds within which tasks are at work after files landed, and after which a fault counts as not recovered from."""
KILLED = (
    "airflow-worker",
    "airflow-scheduler",
    "redis",
    "postgres",
    "objects",
    "mlflow",
    "airflow-api-server",
    "serving",
)


@dataclass(frozen=True)
class Felt:
    """What a fault did: who ended with it, seconds until tasks finish again, until the files were in, until answers
    came again (0: they never stopped), and how many answers were withheld of how many asked.
    """

    fault: str
    stopped: tuple[str, ...]
    tasks: float | None
    files: float | None
    answers: float | None
    withheld: tuple[str, ...] = field(default=())
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
    tasks = _seconds(begun, lambda: _finished(airflow, begun, hit))
    done = _seconds(begun, lambda: bool(_sure(lambda: taken(files, site.stores))))
    answers = _seconds(begun, lambda: _answers(asker, begun))
    stopped = tuple(n for n, one in site.replicas.items() if len(one.ends) > ends[n] and n != replica)
    ended = time.time()
    why = tuple(each.why for each in asker.withheld(begun, ended))
    count = sum(begun <= each.at < ended for each in list(asker.asked))
    return Felt(f"{name} killed", stopped, tasks, done, answers, why, count)


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


def _seconds(begun: float, done: Callable[[], bool]) -> float | None:
    with suppress(EvergreenError):
        until("recovery", done, max(1.0, RECOVERED - (time.time() - begun)), 0.5)
        return time.time() - begun
    return None


def _sure(ask: Callable[[], T]) -> T | None:
    """The answer; None while PostgreSQL or another store is gone."""
    try:
        return ask()
    except (SQLAlchemyError, OSError):
        return None
