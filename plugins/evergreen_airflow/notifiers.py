"""Airflow's notifiers of Evergreen: people are told of a task that failed for good, and once it runs well again.

Beside them `told`, by which a DAG's task tells of what its stage found.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from pipelines.stores import Stores

LOG = logging.getLogger(__name__)
Found = Callable[["Stores", datetime], Iterable[Any]]
"""What a module of `pipelines.alerting` makes of facts, from a deployment's stores and at a moment."""


class TaskFailed(BaseNotifier):
    """For `on_failure_callback`: tells once that a task failed, and again while it goes on failing."""

    def notify(self, context: Any) -> None:
        told(lambda _stores, _now: _failed(context))


class TaskWell(BaseNotifier):
    """For `on_success_callback` and `on_skipped_callback`: tells that a task which had failed runs again.

    Almost always it has not, which one look by a primary key shows.
    """

    def notify(self, context: Any) -> None:
        try:
            _ended(_name(context))
        except Exception as error:
            _untold(error)


def told(found: Found) -> None:
    """Tell people of what was found; never raises, never waits for long."""
    try:
        from pipelines.alerting.telling import heard
        from pipelines.settings import settings
        from pipelines.stores import Stores

        stores, now = Stores(settings()), datetime.now(UTC)
        heard(found(stores, now), stores, now)
    except Exception as error:
        _untold(error)


def _untold(error: Exception) -> None:
    """Of the error only its kind: its text may hold an address, which is a secret."""
    LOG.warning("people were not told: %s", type(error).__name__)


def _failed(context: Any) -> Iterable[Any]:
    from pipelines.alerting.alert import Alert
    from pipelines.alerting.kinds import Kind

    error, name = context.get("exception"), _name(context)
    run = str(context.get("run_id", ""))
    where = getattr(context["task_instance"], "log_url", None) or f"Airflow: {name}, run {run}, its log"
    yield Alert(Kind.TASK_FAILED, name, f"{name} failed", f"{type(error).__name__}: {error}", str(where))


def _ended(name: str) -> None:
    from pipelines.alerting.alert import Well
    from pipelines.alerting.kinds import Kind
    from pipelines.alerting.telling import ended
    from pipelines.settings import settings
    from pipelines.stores import Stores

    ended(Well(Kind.TASK_FAILED, name), Stores(settings()), datetime.now(UTC))


def _name(context: Any) -> str:
    task = context["task_instance"]
    return f"{task.dag_id}.{task.task_id}"
