"""What is done on the pages beside rolling back: approvers promote a version that passed and release held rows,
operators retrain.

Each is asked of the same stages as at the command line, in the name of who is logged in, with a reason that the audit
log keeps; what a stage refuses is refused here, with 409 and its words.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, BackgroundTasks, HTTPException
from fastapi import Path as Part
from fastapi.responses import JSONResponse
from pydantic import Field

from evergreen_airflow.guard import APPROVES, RUNS, Said, acts
from evergreen_airflow.model_pages import spec_of
from evergreen_airflow.notifiers import told
from pipelines.acting import acting_as
from pipelines.catalog import datasets
from pipelines.contracts import EvergreenError, as_json
from pipelines.promotion.approval import wished
from pipelines.settings import settings
from pipelines.stores import Stores

INGESTS = "ingest_"
Digest = Annotated[str, Part(pattern="^[0-9a-f]{64}$")]
router = APIRouter()


class Chosen(Said):
    """A promotion: of which version, and why."""

    version: Annotated[int, Field(gt=0)]


@router.post("/model/{dag_id}/promote", dependencies=acts("promote", APPROVES))
def promote(dag_id: str, asked: Chosen, user: GetUserDep, after: BackgroundTasks) -> JSONResponse:
    """Promote a version that passed, or begin its rollout where its spec has one. 409 with the reason if it may not."""
    from pipelines.alerting import happened
    from pipelines.loop import steps

    spec, who = spec_of(dag_id), f"ui: {user.get_name()}"
    try:
        wished("promote", f"model:{spec.name}@{asked.version}", asked.reason, Stores(settings(), who), _now())
        with acting_as(who):
            answer = steps.promote(spec.name, asked.version)
    except EvergreenError as error:
        raise HTTPException(409, str(error)) from None
    if not (answer["promoted"] or spec.rollout):
        raise HTTPException(409, answer["reason"])
    after.add_task(told, lambda stores, now: happened.decided(spec.name, stores, now))
    return JSONResponse(answer if answer["promoted"] else answer | {"said": answer["reason"]})


@router.post("/model/{dag_id}/retrain", dependencies=acts("retrain", RUNS))
def retrain(dag_id: str, asked: Said, user: GetUserDep) -> JSONResponse:
    """A run of the retraining, by force and for this reason; Airflow does it like any that a person starts."""
    spec, name = spec_of(dag_id), user.get_name()
    try:
        wished("retrain", f"model:{spec.name}", asked.reason, Stores(settings(), f"ui: {name}"), _now())
    except EvergreenError as error:
        raise HTTPException(409, str(error)) from None
    run = start(dag_id, {"force": True, "reason": asked.reason}, name)
    return JSONResponse({"run": run, "said": f"run {run} is asked for; Airflow starts it"})


@router.post("/arrivals/{dag_id}/{digest}/release", dependencies=acts("release", APPROVES))
def release(dag_id: str, digest: Digest, asked: Said, user: GetUserDep) -> JSONResponse:
    """Judge a refused file, or a batch's quarantined rows, again by today's rules; 409 if that cannot be."""
    from pipelines.ingestion.quarantine import release as judge_again

    dataset, who = dag_id.removeprefix(INGESTS), f"ui: {user.get_name()}"
    stores = Stores(settings(), who)
    known = dag_id.startswith(INGESTS) and dataset in datasets()
    batch = stores.ledger.result(digest, dataset) if known else None
    if batch is None:
        raise HTTPException(404, "this DAG took in no such batch")
    try:
        found = judge_again(batch, stores, _reason(asked), who=who)
    except EvergreenError as error:
        raise HTTPException(409, str(error)) from None
    return JSONResponse(as_json(found))


def start(dag_id: str, conf: dict[str, Any], user: str) -> str:
    """Ask Airflow for a run of a DAG, as its own button does; the run's id. 409 where Airflow will not."""
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.exceptions import AirflowException
    from airflow.utils.types import DagRunTriggeredByType

    try:
        run = trigger_dag(dag_id, triggered_by=DagRunTriggeredByType.UI, triggering_user_name=user, conf=conf)
    except (AirflowException, ValueError) as error:
        raise HTTPException(409, f"Airflow does not start {dag_id}: {error}") from None
    return str(run.run_id) if run is not None else ""


def _reason(asked: Said) -> str:
    if not asked.reason.strip():
        raise HTTPException(409, "to release needs a reason")
    return asked.reason.strip()


def _now() -> datetime:
    return datetime.now(UTC)
