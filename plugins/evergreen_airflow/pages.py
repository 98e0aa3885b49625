"""Pages inside Airflow's UI: what landed for a dataset, and Great Expectations' report on each batch.

Who may call them: whoever may read the DAG whose runs they belong to; nobody else.
"""

from html import escape
from typing import Annotated

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException
from fastapi import Path as Part
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from evergreen_airflow.alertmanager import router as alertmanager_router
from evergreen_airflow.feature_pages import DAG as FEATURES
from evergreen_airflow.feature_pages import router
from evergreen_airflow.layout import page
from evergreen_airflow.model_acts import router as acts_router
from evergreen_airflow.model_pages import PREFIX as MODEL
from evergreen_airflow.model_pages import router as model_router
from pipelines.catalog import datasets, models
from pipelines.contracts import IngestResult
from pipelines.ingestion.quarantine import reasons
from pipelines.settings import settings
from pipelines.stores import Stores

PREFIX, SHOWN = "ingest_", 200
OF_A_MODEL = {"retrain", "monitor", "rollout", "score"}
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"}
OWN = ".refused{background:color-mix(in srgb,var(--bad) 15%,transparent)}"
OWN += ".partly{background:color-mix(in srgb,var(--warn) 12%,transparent)}"

app = FastAPI(title="Evergreen", docs_url=None, redoc_url=None, openapi_url=None)
app.include_router(router)
app.include_router(model_router)
app.include_router(acts_router)
app.include_router(alertmanager_router)
Digest = Annotated[str, Part(pattern="^[0-9a-f]{64}$")]


@app.get("/dag/{dag_id}", dependencies=[Depends(requires_access_dag("GET"))])
def tab(dag_id: str) -> Response:
    """The page of what a DAG works on: Airflow has a tab on every DAG or on none, so one tab leads to each."""
    page = _page_of(dag_id)
    if page is None:
        return HTMLResponse(
            "<p>Evergreen has nothing to say of this DAG, which is none of its own.", headers=HEADERS
        )
    return RedirectResponse(page, headers=HEADERS)


def _page_of(dag_id: str) -> str | None:
    """Relative to the tab's own address; None for a DAG that is none of ours."""
    work, _, name = dag_id.partition("_")
    if dag_id == FEATURES:
        return f"../features/{FEATURES}"
    if work == "ingest" and name in datasets():
        return f"../arrivals/{dag_id}"
    return f"../model/{MODEL}{name}" if work in OF_A_MODEL and name in models() else None


@app.get("/arrivals/{dag_id}", dependencies=[Depends(requires_access_dag("GET"))])
def arrivals(dag_id: str) -> HTMLResponse:
    """The newest batches of the dataset that a DAG ingests, each with where its rows went and its report."""
    dataset = dag_id.removeprefix(PREFIX)
    if not dag_id.startswith(PREFIX) or dataset not in datasets():
        return HTMLResponse("<p>This DAG ingests no dataset.", headers=HEADERS)
    stores = Stores(settings())
    batches = stores.ledger.batches(dataset)[-SHOWN:][::-1]
    why = reasons(dataset, stores) if any(batch.quarantined for batch in batches) else {}
    rows = "".join(_row(dag_id, batch, batch.reason or why.get(batch.digest, "")) for batch in batches)
    columns = "".join(
        f"<th>{name}" for name in ("file", "state", "rows", "silver", "quarantine", "superseded", "why")
    )
    body = (
        f"<h1>{dataset}</h1><p>{len(batches)} newest batches, newest first. <code>evergreen quarantine list {dataset}"
        f"</code> shows what is held back.</p><table><tr>{columns}</tr>{rows}</table>"
    )
    return HTMLResponse(page(f"{dataset}: arrivals", body, OWN), headers=HEADERS)


@app.get("/arrivals/{dag_id}/{digest}", dependencies=[Depends(requires_access_dag("GET"))])
def report(dag_id: str, digest: Digest) -> HTMLResponse:
    """What Great Expectations said of one batch."""
    dataset, stores = dag_id.removeprefix(PREFIX), Stores(settings())
    page = stores.files.at("reports", "validation", dataset, f"{digest}.html")
    if stores.ledger.result(digest, dataset) is None or not page.is_file():
        raise HTTPException(404, "no report on this batch: it was refused before it could be validated")
    return HTMLResponse(page.read_text(), headers=HEADERS)


def _row(dag_id: str, batch: IngestResult, why: str) -> str:
    kind = "refused" if batch.state == "refused" else "partly" if batch.quarantined else ""
    counts = (batch.parsed, batch.silver, batch.quarantined, batch.superseded)
    cells = [batch.state.value, *(f"{count:,}" for count in counts), why]
    name = escape(batch.name)
    if batch.report:
        name = f"<a href={escape(dag_id)}/{batch.digest}>{name}</a>"
    return f"<tr class='{kind}'><td>{name}" + "".join(f"<td>{escape(cell)}" for cell in cells) + "</tr>"
