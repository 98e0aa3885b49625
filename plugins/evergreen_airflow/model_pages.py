"""The page Model and the page over all: the catalog that people read, with what they may do there.

Who reads the retraining DAG may look, who may start its runs may retrain, who may answer its approvals may decide.
What protects that is in `guard`.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, BackgroundTasks, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse
from markupsafe import Markup
from pydantic import Field

from evergreen_airflow.guard import (
    APPROVES,
    HEADERS,
    READS,
    REPORT,
    STILL,
    Said,
    acts,
    may_approve,
    may_read,
    may_start,
)
from evergreen_airflow.model_forms import Rights, panel
from evergreen_airflow.model_forms import _form as _form
from evergreen_airflow.notifiers import told
from pipelines.catalog import ModelSpec, models
from pipelines.contracts import EvergreenError, as_json
from pipelines.settings import settings
from pipelines.site.told import told as read
from pipelines.stores import Stores

PREFIX = "retrain_"
router = APIRouter()


class Back(Said):
    """A rollback: to which version (by default the previous champion), and why."""

    to: Annotated[int | None, Field(gt=0)] = None


class Routes:
    """Where links lead from a model's page, or from the page over all; what was not written leads nowhere."""

    def __init__(self, inside: bool = True) -> None:
        self.over, self._to = ("../models", "") if inside else ("models", "model/")

    def model(self, name: str) -> str:
        return f"{self._to}{PREFIX}{name}"

    def decision(self, name: str, version: int) -> str | None:
        return self._there(name, f"{version}", "decisions", name, f"{version}.html")

    def card(self, name: str, version: int) -> str | None:
        return self._there(name, f"{version}/card", "decisions", name, f"{version}", "card.html")

    def run(self, run_id: str) -> str | None:
        """MLflow's own page of a run."""
        return f"{settings().mlflow_address}/#/runs/{quote(run_id, safe='')}" if run_id else None

    def performance(self, name: str) -> str | None:
        return self._there(name, "performance", "reports", "performance", f"{name}.html")

    def drift(self, name: str) -> str | None:
        return f"{self.model(name)}/drift" if _newest_report(name) else None

    def _there(self, name: str, to: str, *file: str) -> str | None:
        there = Stores(settings()).files.there(settings().home.joinpath(*file))
        return f"{self.model(name)}/{to}" if there else None


@router.get("/models", dependencies=READS)
def over(request: Request, user: GetUserDep) -> HTMLResponse:
    """The page over all models whose retraining the reader may look at."""
    from pipelines.site import pages
    from pipelines.site.house import house

    now = datetime.now(UTC)
    mine = {name: spec for name, spec in models().items() if may_read(f"{PREFIX}{name}", request, user)}
    return HTMLResponse(
        pages.over(house(Stores(settings()), now, mine), Routes(inside=False), now), headers=STILL
    )


@router.get("/model/{dag_id}", dependencies=READS)
def model(dag_id: str, request: Request, user: GetUserDep) -> HTMLResponse:
    """The model's page, and what the reader may do there."""
    from pipelines.site import pages
    from pipelines.site.model import facts

    spec = models().get(dag_id.removeprefix(PREFIX)) if dag_id.startswith(PREFIX) else None
    if spec is None:
        return HTMLResponse("<p>This DAG trains no model.", headers=HEADERS)
    now, stores = datetime.now(UTC), Stores(settings())
    found = facts(spec, stores, now)
    may = {
        each.dataset: may_approve(f"ingest_{each.dataset}", request, user) for each in found.held.value or ()
    }
    held = [each for each in found.held.value or () if may[each.dataset]]
    rights = Rights(may_start(dag_id, request, user), may_approve(dag_id, request, user))
    forms = _forms(spec, stores, found, rights, held)
    return HTMLResponse(pages.model(found, Routes(), now, forms), headers=HEADERS)


def _forms(spec: ModelSpec, stores: Stores, found: Any, rights: Rights, held: list[Any]) -> Markup:
    """The forms; where the records are broken, why nothing can be done here."""
    from pipelines.promotion.overview import overview

    seen = read(f"versions of {spec.name}", lambda: overview(spec, stores))
    if seen.value is None:
        return Markup("<p class=trouble>Nothing can be done from here now: {}</p>").format(seen.trouble)
    return Markup(panel(f"{PREFIX}{spec.name}", seen.value, found, rights, held))  # noqa: S704 - escaped there


@router.get("/model/{dag_id}/performance", dependencies=READS)
def performance(dag_id: str) -> HTMLResponse:
    """The page of the model's days, as `evergreen performance` wrote it last."""
    spec = spec_of(dag_id)
    missing = f"evergreen performance {spec.name} writes this page"
    return _written(("reports", "performance", f"{spec.name}.html"), missing)


@router.get("/model/{dag_id}/drift", dependencies=READS)
def drift(dag_id: str) -> HTMLResponse:
    """The monitor's newest report, whose scripts run apart from everything of ours."""
    path = _newest_report(spec_of(dag_id).name)
    if path is None:
        raise HTTPException(404, "no monitor has looked at this model yet")
    return HTMLResponse(path.read_text(), headers=REPORT)


@router.get("/model/{dag_id}/{version}", dependencies=READS)
def decision(dag_id: str, version: int) -> HTMLResponse:
    """The decision record of a version, as the gate wrote it."""
    name = spec_of(dag_id).name
    missing = f"{name} version {version} was not judged here"
    return _written(("decisions", name, f"{version}.html"), missing)


@router.get("/model/{dag_id}/{version}/card", dependencies=READS)
def card(dag_id: str, version: int) -> HTMLResponse:
    """The card of a version: what a person wrote of the model, and this version's facts."""
    name = spec_of(dag_id).name
    missing = f"{name} version {version} has no card yet; evergreen card {name}@{version} writes it"
    return _written(("decisions", name, str(version), "card.html"), missing)


@router.post("/model/{dag_id}/rollback", dependencies=acts("rollback", APPROVES))
def rollback(dag_id: str, asked: Back, user: GetUserDep, after: BackgroundTasks) -> JSONResponse:
    """Roll back now, in the name of who is logged in. 403 from another site, 409 with every reason if it cannot be."""
    from pipelines.alerting import happened
    from pipelines.promotion.rollback import rollback as move

    spec, stores = spec_of(dag_id), Stores(settings(), f"ui: {user.get_name()}")
    try:
        answer = move(spec, stores, datetime.now(UTC), asked.reason, asked.to)
    except EvergreenError as error:
        raise HTTPException(409, str(error)) from None
    after.add_task(told, lambda stores, now: happened.decided(spec.name, stores, now))
    return JSONResponse(as_json(answer))


def spec_of(dag_id: str) -> ModelSpec:
    """The model of a retraining DAG; 404 if it is none."""
    found = models().get(dag_id.removeprefix(PREFIX)) if dag_id.startswith(PREFIX) else None
    if found is None:
        raise HTTPException(404, "this DAG trains no model")
    return found


def _newest_report(name: str) -> Path | None:
    """The monitor's newest report of a model, in its own folder whatever its record says."""
    from pipelines.site import watching

    return watching.page(name, Stores(settings()))


def _written(name: tuple[str, ...], missing: str) -> HTMLResponse:
    """A page that a stage wrote, by its place below home; 404 with what would write it."""
    path = Stores(settings()).files.at(*name)
    if not path.is_file():
        raise HTTPException(404, missing)
    return HTMLResponse(path.read_text(), headers=STILL)
