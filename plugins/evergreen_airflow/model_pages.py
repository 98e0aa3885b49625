"""The page Model: who is champion, what the gate said of the newest versions, and one button back.

Who reads the retraining DAG may look; who may start its runs may roll back. A page of another site cannot: the call
takes JSON with a header of our own, which no form can send and no script of another origin may, and a browser that says
the call comes from elsewhere is refused as well.
"""

import base64
import hashlib
from datetime import UTC, datetime
from html import escape
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import APIRouter, BackgroundTasks, Depends, Header, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from evergreen_airflow.layout import page
from evergreen_airflow.notifiers import told
from pipelines.catalog import ModelSpec, models
from pipelines.contracts import EvergreenError, as_json
from pipelines.settings import settings
from pipelines.stores import Stores

PREFIX, LONGEST = "retrain_", 500
SCRIPT = """
const form = document.querySelector("form"), said = document.querySelector("#said");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const to = form.to.value ? Number(form.to.value) : null;
  form.go.disabled = true;
  said.textContent = "rolling back ...";
  try {
    const answer = await fetch(form.dataset.call, {
      method: "POST",
      headers: {"Content-Type": "application/json", "X-Evergreen": "rollback"},
      body: JSON.stringify({to: to, reason: form.reason.value}),
    });
    const body = await answer.json();
    if (answer.ok) return location.reload();
    said.textContent = typeof body.detail === "string" ? body.detail : JSON.stringify(body.detail);
  } catch (error) { said.textContent = String(error); }
  form.go.disabled = false;
});
"""
HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{HASH}'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'",
    "Cache-Control": "no-store",
}
RECORD = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
}
OWN = (
    ".badge{border:1px solid;border-radius:.7em;padding:0 .6em;font-size:.85em;white-space:nowrap}"
    "form{margin:1.5em 0;display:flex;gap:.6em;flex-wrap:wrap;align-items:center}"
    "input,button{font:inherit;padding:.35em .6em;color:inherit;background:var(--paper);border:1px solid var(--line)}"
    "button{font-weight:600;border-color:var(--bad);color:var(--bad);cursor:pointer}"
    "button[disabled]{opacity:.5;cursor:default}input[name=reason]{min-width:22em}"
)
NOT_YOURS = "<p class=soft>Who may start this DAG's runs can roll back here."
READS = [Depends(requires_access_dag("GET"))]
ACTS = [Depends(requires_access_dag("POST", DagAccessEntity.RUN))]

router = APIRouter()


class Asked(BaseModel):
    """A rollback: to which version (by default the previous champion), and why."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST)]
    to: Annotated[int | None, Field(gt=0)] = None


@router.get("/model/{dag_id}", dependencies=READS)
def model(dag_id: str, request: Request, user: GetUserDep) -> HTMLResponse:
    """The champion, what a rollback goes to, the newest versions and their verdicts; the button for who may use it."""
    from pipelines.promotion.overview import overview

    spec = models().get(dag_id.removeprefix(PREFIX)) if dag_id.startswith(PREFIX) else None
    if spec is None:
        return HTMLResponse("<p>This DAG trains no model.", headers=HEADERS)
    found = overview(spec, Stores(settings()))
    form = _form(dag_id, found) if _may_act(dag_id, request, user) else NOT_YOURS
    body = f"<h1>{escape(spec.name)}</h1>{_champion(found)}{form}{_versions(dag_id, found)}"
    return HTMLResponse(page(spec.name, body, OWN), headers=HEADERS)


@router.get("/model/{dag_id}/{version}", dependencies=READS)
def decision(dag_id: str, version: int) -> HTMLResponse:
    """The decision record of a version, as the gate wrote it."""
    spec = _spec(dag_id)
    path = settings().home / "decisions" / spec.name / f"{version}.html"
    if not path.is_file():
        raise HTTPException(404, f"{spec.name} version {version} was not judged here")
    return HTMLResponse(path.read_text(), headers=RECORD)


@router.post("/model/{dag_id}/rollback", dependencies=ACTS)
def rollback(
    dag_id: str,
    asked: Asked,
    user: GetUserDep,
    after: BackgroundTasks,
    x_evergreen: Annotated[str, Header()] = "",
    sec_fetch_site: Annotated[str, Header()] = "same-origin",
    content_type: Annotated[str, Header()] = "",
) -> JSONResponse:
    """Roll back now, in the name of who is logged in. 403 from another site, 409 with every reason if it cannot be."""
    from pipelines.alerting import happened
    from pipelines.promotion.rollback import rollback as move

    plain = content_type.partition(";")[0].strip() == "application/json"
    if x_evergreen != "rollback" or sec_fetch_site != "same-origin" or not plain:
        raise HTTPException(
            403, "send JSON with the header `X-Evergreen: rollback`, from Airflow's own pages or a client"
        )
    spec, stores = _spec(dag_id), Stores(settings(), f"ui: {user.get_name()}")
    try:
        answer = move(spec, stores, datetime.now(UTC), asked.reason, asked.to)
    except EvergreenError as error:
        raise HTTPException(409, str(error)) from None
    after.add_task(told, lambda stores, now: happened.decided(spec.name, stores, now))
    return JSONResponse(as_json(answer))


def _may_act(dag_id: str, request: Request, user: Any) -> bool:
    """Whether this person would be let through to the rollback."""
    try:
        requires_access_dag("POST", DagAccessEntity.RUN, dag_id)(request, user)
    except HTTPException:
        return False
    return True


def _spec(dag_id: str) -> ModelSpec:
    """The model of a retraining DAG; 404 if it is none."""
    found = models().get(dag_id.removeprefix(PREFIX)) if dag_id.startswith(PREFIX) else None
    if found is None:
        raise HTTPException(404, "this DAG trains no model")
    return found


def _champion(found: dict[str, Any]) -> str:
    tenure = found["tenure"]
    if found["champion"] is None:
        return "<p>No champion yet: the first version that passes its gate becomes it."
    facts = {"champion": f"version {found['champion']}"}
    if tenure is not None and tenure["version"] == found["champion"]:
        how = {"promote": "promoted", "rollback": "rolled back to"}[tenure["action"]]
        facts |= {"since": f"{_minute(tenure['since'])}, {how} by {tenure['who']}", "why": tenure["why"]}
    else:
        facts["since"] = "unknown: the alias was moved, but not by Evergreen"
    facts |= {name: f"version {found[name]}" for name in ("previous", "anchor") if found[name] is not None}
    rows = "".join(f"<tr><th>{name}<td>{escape(fact)}</tr>" for name, fact in facts.items())
    return f"<table>{rows}</table>{_override(_of(found, found['champion']))}"


def _of(found: dict[str, Any], number: int) -> dict[str, Any]:
    return next((each for each in found["versions"] if each["version"] == number), {"override": None})


def _override(version: dict[str, Any]) -> str:
    said = version["override"]
    if said is None:
        return ""
    return (
        f"<span class='badge no'>overridden</span> <small>{escape(said['by'])}, {_minute(said['at'])}: "
        f"{escape(said['why'])}</small>"
    )


def _form(dag_id: str, found: dict[str, Any]) -> str:
    """The button. What keeps the previous champion from serving is said beside it."""
    to, obstacles = found["rollback"]["to"], found["rollback"]["obstacles"]
    told = "".join(f"<li>{escape(reason)}" for reason in obstacles)
    told = f"<p class=warn>Version {to} cannot serve now:<ul>{told}</ul>" if to and told else ""
    others = [
        each for each in found["versions"] if each["version"] != found["champion"] and not each["retired"]
    ]
    if found["champion"] is None or not (to or others):
        return "<p class=soft>There is no other version to roll back to."
    hint = f"version {to}" if to else "version"
    return (
        f"<form data-call='{escape(dag_id)}/rollback'><button name=go>Roll back</button>"
        f"<label>to <input name=to inputmode=numeric pattern='[0-9]*' size=9 placeholder='{hint}'></label>"
        f"<input name=reason required maxlength={LONGEST} placeholder='why; the audit log keeps it'>"
        f"<span id=said class=no role=status></span></form>{told}<script>{SCRIPT}</script>"
    )


def _versions(dag_id: str, found: dict[str, Any]) -> str:
    rows = "".join(_row(dag_id, version) for version in found["versions"])
    heads = "".join(f"<th>{name}" for name in ("version", "as of", "gate", "", "model file"))
    return f"<h2>Versions</h2><table><tr>{heads}</tr>{rows}</table>" if rows else ""


def _row(dag_id: str, version: dict[str, Any]) -> str:
    kind = {"PASS": "yes", "FAIL": "no", "INCONCLUSIVE": "warn"}.get(version["verdict"], "soft")
    number, verdict = version["version"], escape(version["verdict"] or "not judged")
    gate = (
        f"<a class={kind} href='{escape(dag_id)}/{number}'>{verdict}</a>" if version["verdict"] else verdict
    )
    badges = " ".join(f"<span class='badge yes'>{alias}</span>" for alias in version["aliases"])
    gone = (
        f"<span class='badge soft'>retired {_minute(version['retired'])}</span>" if version["retired"] else ""
    )
    cells = (str(number), _minute(version["as_of"]), gate, f"{badges} {_override(version)} {gone}")
    return (
        "<tr>"
        + "".join(f"<td>{cell}" for cell in cells)
        + f"<td><code>{escape(version['digest'][:12])}</code></tr>"
    )


def _minute(text: str | None) -> str:
    return (
        f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC" if text else "at an unknown time"
    )
