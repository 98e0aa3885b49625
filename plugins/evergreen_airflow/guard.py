"""What protects every page and every button: rights as Airflow knows them, and that a call comes from our own pages.

A page of another site cannot act: a call takes JSON with a header of our own, which no form can send and no script of
another origin may, and a browser that says the call comes from elsewhere is refused as well.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, Header, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

LONGEST = 500
SCRIPT = """
for (const form of document.querySelectorAll("form[data-call]")) {
  const said = form.querySelector("[role=status]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = {};
    for (const [name, value] of new FormData(form)) if (value) body[name] = name === "reason" ? value : Number(value);
    form.go.disabled = true;
    said.textContent = form.dataset.doing + " ...";
    try {
      const answer = await fetch(form.dataset.call, {
        method: "POST",
        headers: {"Content-Type": "application/json", "X-Evergreen": form.dataset.act},
        body: JSON.stringify(body),
      });
      const told = await answer.json();
      if (answer.ok && !told.said) return location.reload();
      said.textContent = told.said || (typeof told.detail === "string" ? told.detail : JSON.stringify(told.detail));
    } catch (error) { said.textContent = String(error); }
    form.go.disabled = false;
  });
}
"""
HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    f"script-src 'sha256-{HASH}'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'",
    "Cache-Control": "no-store",
}
"""Of pages with buttons: their own script runs, and no other."""
STILL = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
    "Cache-Control": "no-store",
}
"""Of pages and reports without any script."""
REPORT = {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline' 'unsafe-eval'; img-src data: blob:; font-src data:; frame-ancestors 'self'",
    "Cache-Control": "no-store",
}
"""Of Evidently's report, whose scripts run apart: without our origin, its cookies, or any network."""
READS = [Depends(requires_access_dag("GET"))]
RUNS = Depends(requires_access_dag("POST", DagAccessEntity.RUN))
"""An operator's right: to start a DAG's runs."""
APPROVES = Depends(requires_access_dag("PUT", DagAccessEntity.HITL_DETAIL))
"""An approver's right, which is Airflow's own to answer the approval that a DAG's run asks for."""


class Said(BaseModel):
    """Why something is done; the audit log keeps it."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST)]


def acts(what: str, right: Any) -> list[Any]:
    """What a route that does something depends on: a right on its DAG, and a call from our own pages."""

    def ours(
        x_evergreen: Annotated[str, Header()] = "",
        sec_fetch_site: Annotated[str, Header()] = "same-origin",
        content_type: Annotated[str, Header()] = "",
    ) -> None:
        plain = content_type.partition(";")[0].strip() == "application/json"
        if x_evergreen != what or sec_fetch_site != "same-origin" or not plain:
            wanted = f"send JSON with the header `X-Evergreen: {what}`, from Airflow's own pages or a client"
            raise HTTPException(403, wanted)

    return [right, Depends(ours)]


def may_start(dag_id: str, request: Request, user: Any) -> bool:
    """Whether this person would be let through to what starts a DAG's runs."""
    return _let_through(requires_access_dag("POST", DagAccessEntity.RUN, dag_id), request, user)


def may_approve(dag_id: str, request: Request, user: Any) -> bool:
    """Whether this person would be let through to what decides: rollback, promotion, release of held rows."""
    return _let_through(requires_access_dag("PUT", DagAccessEntity.HITL_DETAIL, dag_id), request, user)


def may_read(dag_id: str, request: Request, user: Any) -> bool:
    """Whether this person may look at what belongs to a DAG."""
    return _let_through(requires_access_dag("GET", None, dag_id), request, user)


def _let_through(asked: Callable[[Request, Any], None], request: Request, user: Any) -> bool:
    try:
        asked(request, user)
    except HTTPException:
        return False
    return True
