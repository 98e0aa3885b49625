"""Runs a stage as a task: a person's mistake fails at once, nothing to do skips, the rest is retried."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any, TypeVar

from airflow.sdk import Param, get_current_context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.log import mask_secret

from evergreen_airflow.notifiers import TaskFailed, TaskWell
from pipelines.acting import acting, acting_as
from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError, NothingToDo, TransientError
from pipelines.settings import settings

T = TypeVar("T")

# The format alone is checked only where an optional library is installed.
MOMENT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$"
LINEAGE = "evergreen_airflow.lineage"
"""Loaded by Airflow's OpenLineage provider, and only where it is told to send its events."""
START = datetime(2013, 1, 1)  # noqa: DTZ001 - Airflow reads it in the DAG's zone, UTC


def stage(function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """The stage's answer, its errors told apart for Airflow, and our secrets kept out of the task's log."""
    for secret in settings().secrets():
        mask_secret(secret)
    try:
        with acting_as(behalf()):
            answer = function(*arguments, **named)
    except NothingToDo as nothing:
        raise AirflowSkipException(str(nothing)) from None
    except TransientError:
        raise
    except EvergreenError as error:
        raise AirflowFailException(str(error)) from error
    if (lineage := sys.modules.get(LINEAGE)) is not None:
        lineage.keep(function, arguments, answer)
    return answer


def behalf() -> str:
    """The run that acts, and who started it where Airflow knows; for the audit log."""
    try:
        run = get_current_context()["dag_run"]
    except (RuntimeError, KeyError):
        return acting()
    person = getattr(run, "triggering_user_name", None)
    said = f"airflow: {run.dag_id}/{run.run_id}"
    return f"{said} for {person}" if person else said


def earlier_try() -> str | None:
    """When this run was due, if its task was tried before: that try may have ended after its work and untold."""
    try:
        context = get_current_context()
    except RuntimeError:
        return None
    return context["dag_run"].run_after.isoformat() if context["ti"].try_number > 1 else None


def defaults(owner: str) -> dict[str, Any]:
    """What every task has: an owner, retries with back-off, and an alert when they are used up, until it runs again."""
    return {
        "owner": owner,
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=2),
        "on_failure_callback": TaskFailed(),
        "on_success_callback": TaskWell(),
        "on_skipped_callback": TaskWell(),
    }


def pod(spec: ModelSpec, name: str) -> dict[str, Any]:
    """The `executor_config` of a stage's task: its pod with what `resources` in spec.yaml asks for it.

    Empty where tasks are no pods, or the spec leaves that stage to the pod template.
    """
    need = getattr(spec.resources, name)
    if need is None or not as_pods():
        return {}
    from kubernetes.client import models as k8s  # 868 modules: loaded only where they are of use

    resources = k8s.V1ResourceRequirements(**need.requirements)
    base = k8s.V1Container(
        name="base", resources=resources
    )  # Airflow's name of the one in which the task runs
    return {"pod_override": k8s.V1Pod(metadata=k8s.V1ObjectMeta(), spec=k8s.V1PodSpec(containers=[base]))}


def as_pods() -> bool:
    """Whether this process's executors make pods of tasks; inside such a pod they make none."""
    return "KubernetesExecutor" in str(conf.get("core", "executor")) and find_spec("kubernetes") is not None


def form() -> dict[str, Param]:
    """What a person may say when starting a run by hand; anything else is refused there."""
    return {
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            pattern=MOMENT,
            title="As of",
            description="The moment whose knowledge counts, such as 2013-04-01T00:00:00Z. Empty: all that landed.",
        ),
        "force": Param(
            False,
            type="boolean",
            title="Force",
            description="Run even if nothing is new or a policy would wait. A training so forced needs a reason.",
        ),
        "reason": Param(
            None, type=["null", "string"], maxLength=500, title="Reason", description="Why, for the record."
        ),
    }


def woken_by(dag_run: Any, events: Any) -> str:
    """What started a run: schedule, data event, monitor or person.

    A hint: Airflow may hand a run only the first of several events, so the stages look for reasons themselves.
    """
    kind = str(getattr(dag_run.run_type, "value", dag_run.run_type))
    if kind == "asset_triggered":
        names = [asset.name for asset in events or ()]
        return "monitor" if names and all(name.startswith("decayed_") for name in names) else "data event"
    return "schedule" if kind == "scheduled" else "person"


def wall_clock() -> str:
    """The time at which a run asks, for the policies that go by the clock on the wall."""
    return datetime.now(UTC).isoformat()
