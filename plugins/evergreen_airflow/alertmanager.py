"""Where Alertmanager asks for trainings: its webhook, version 4.

Who may start the runs of each model's retraining that it names may call it, with a token; nobody else. A page of
another site cannot: what a browser sends on a person's behalf is refused.
"""

import logging
from datetime import UTC, datetime
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse

from pipelines.catalog import models
from pipelines.contracts import EvergreenError, TransientError
from pipelines.monitoring.alarms import Alert, Asked, Outcome, asked, read, take
from pipelines.settings import settings
from pipelines.stores import Stores

LOG = logging.getLogger(__name__)
LARGEST = 1_000_000
"""Bytes of a notice; Alertmanager's own are of some thousand."""
BROWSERS = ("sec-fetch-site", "origin", "referer")

router = APIRouter()


def by_machine(request: Request) -> None:
    """403 for what comes from a page in a browser, 415 for what is not JSON."""
    if any(name in request.headers for name in BROWSERS):
        raise HTTPException(403, "this is for Alertmanager, not for pages in a browser")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send JSON")


async def bounded(request: Request) -> bytes:
    """The body; 413 as soon as it is longer than any notice."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise HTTPException(413, f"a notice has at most {LARGEST:,} bytes")
    return bytes(body)


@router.post("/alertmanager", dependencies=[Depends(get_user), Depends(by_machine)])
def alertmanager(
    request: Request, user: GetUserDep, body: Annotated[bytes, Depends(bounded)]
) -> JSONResponse:
    """Record what the firing alerts ask for, and wake those retrainings. 422 if one could not be understood: the
    others count. 503 where a store does not answer: Alertmanager sends it again."""
    wanted, refused = _understood(body)
    for model in sorted({each.model for each in wanted}):
        requires_access_dag("POST", DagAccessEntity.RUN, f"retrain_{model}")(request, user)
    stores = Stores(settings(), f"alertmanager: {user.get_name()}")
    outcomes = [_taken(each, stores) for each in wanted]
    counts: dict[str, Any] = {outcome.value: outcomes.count(outcome) for outcome in Outcome}
    return JSONResponse(counts | {"refused": refused}, 422 if refused else 200)


def _understood(body: bytes) -> tuple[list[Asked], list[str]]:
    """What the alerts ask for that ask, and why others of them cannot be understood, by their place."""
    try:
        asking = [(place, alert) for place, alert in enumerate(read(body).alerts, 1) if alert.asks]
    except EvergreenError as error:
        raise HTTPException(422, str(error)) from None
    found = [(place, _asked(alert)) for place, alert in asking]
    wanted = [each for _, each in found if isinstance(each, Asked)]
    return wanted, [f"alert {place}: {each}" for place, each in found if isinstance(each, str)]


def _asked(alert: Alert) -> Asked | str:
    try:
        return asked(alert, models(), datetime.now(UTC))
    except EvergreenError as error:
        return str(error)


def _taken(wanted: Asked, stores: Stores) -> Outcome:
    try:
        return take(wanted, stores, datetime.now(UTC), wake)
    except EvergreenError as error:
        if not isinstance(error, TransientError):
            raise HTTPException(409, f"{wanted.model}: {error}") from None
        fault: Exception = error
    except Exception as error:
        fault = error
    # Of the fault only its kind: its text may hold an address with a password.
    LOG.error("%s: an alert could not be taken: %s", wanted.model, type(fault).__name__)
    raise HTTPException(503, f"{wanted.model}: a store does not answer; send it again", {"Retry-After": "30"})


def wake(model: str) -> None:
    """The event that `monitor` makes too: decayed_<model>; where no DAG waits for it, the schedule takes the signal."""
    from airflow.assets.manager import asset_manager
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        asset = session.scalar(select(AssetModel).where(AssetModel.name == f"decayed_{model}").limit(1))
        if asset is None:
            LOG.warning("%s: no DAG waits for its decay; the retraining's schedule takes the signal", model)
            return
        asset_manager.register_asset_change(
            asset=asset,
            extra={"from": "alertmanager"},
            source_is_api=True,
            api_user_teams=set(),
            session=session,
        )
