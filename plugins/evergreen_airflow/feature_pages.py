"""Pages inside Airflow's UI on the health of the features: every view at a glance, and one view's columns over time.

Who may call them: whoever may read the DAG that computes the features; nobody else.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from urllib.parse import quote

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import HTMLResponse

from evergreen_airflow.layout import page
from pipelines.catalog import models_with
from pipelines.features.health import said, state
from pipelines.settings import settings
from pipelines.site.charts import STYLE as CHARTS
from pipelines.site.charts import bands, box, line
from pipelines.stores.feature_store.health import Check, Distribution, Health, ViewHealth
from pipelines.stores.feature_store.views import Views

DAG, SHOWN = "features", 30
RUN = "run <code>evergreen features compute</code>, or start the DAG <code>features</code>"
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"}
router = APIRouter()


@dataclass(frozen=True)
class Definition:
    """What Feast's definition says of a view's version."""

    owner: str = ""
    description: str = ""
    entities: tuple[str, ...] = ()
    ttl: timedelta | None = None
    features: tuple[tuple[str, str], ...] = ()


@router.get("/features/{dag_id}", dependencies=[Depends(requires_access_dag("GET"))])
def features(dag_id: str, view: str | None = None, version: int | None = None) -> HTMLResponse:
    """All views, or the one that is named, its newest version if none is."""
    if dag_id != DAG:
        return HTMLResponse("<p>This DAG computes no features.", headers=HEADERS)
    now = datetime.now(UTC)
    return overview(now) if view is None else one(view, now, version)


def overview(now: datetime) -> HTMLResponse:
    """Every view with what it is, how fresh and how full it is, what it cost, and which checks failed."""
    found, defined = Health(settings().database).latest(), definitions()
    never = sorted({view for view, _ in defined} - {each.view for each in found})
    rows = "".join(_row(each, defined.get((each.view, each.version), Definition()), now) for each in found)
    missing = "".join(f"<p>{escape(view)} was not computed yet: {RUN}." for view in never)
    if not found:
        return _page("Features", f"<p>No feature view was computed yet: {RUN}.{missing}")
    names = (
        "view",
        "owner",
        "used by",
        "entities",
        "as of",
        "freshness",
        "rows",
        "most nulls",
        "cost",
        "checks",
    )
    heads = "".join(f"<th{_right(name)}>{name}" for name in names)
    return _page("Features", f"<table><tr>{heads}</tr>{rows}</table>{missing}")


def one(view: str, now: datetime, version: int | None = None) -> HTMLResponse:
    """One view's columns: the last distribution, and how nulls and values went over recent runs. 404 if unknown."""
    kept = Health(settings().database)
    latest = [each for each in kept.latest() if each.view == view]
    chosen = [each for each in latest if version in (None, each.version)]
    if not chosen:
        raise HTTPException(404, "no such feature view was computed; the page Features lists those that were")
    last = max(chosen, key=lambda each: each.version)
    runs = kept.history(view, SHOWN, last.version, filled=True)[::-1]
    definition = definitions().get((view, last.version), Definition())
    others = [each.version for each in latest if each.version != last.version]
    return _page(str(last), _about(last, definition, others, now) + _columns(runs, definition))


def definitions() -> dict[tuple[str, int], Definition]:
    """The definitions by view and version, as they were registered; Feast itself is not loaded."""
    return {(v.view, v.number): _definition(v.definition) for v in Views(settings().database).versions()}


def _definition(text: str) -> Definition:
    spec = json.loads(text).get("spec", {})
    seconds = float(str(spec.get("ttl", "0s")).removesuffix("s"))
    return Definition(
        owner=spec.get("owner", ""),
        description=spec.get("description", ""),
        entities=tuple(spec.get("entities", ())),
        ttl=timedelta(seconds=seconds) if seconds else None,
        features=tuple((f["name"], f.get("description", "")) for f in spec.get("features", ())),
    )


def _row(found: ViewHealth, definition: Definition, now: datetime) -> str:
    name = f"<a href='{_link(found.view, found.version)}'>{escape(str(found))}</a>"
    worst = max(found.nulls, key=lambda each: found.nulls[each], default=None)
    nulls = (
        f"{found.nulls[worst]:.1%}<small>{escape(worst)}</small>" if worst and found.nulls[worst] else "none"
    )
    cells = (
        ("", f"{name}<small>{escape(definition.description)}</small>"),
        ("", escape(definition.owner)),
        ("", escape(_users(found.view))),
        ("", escape(", ".join(definition.entities))),
        ("", f"{found.as_of:%Y-%m-%d %H:%M}"),
        (" class=n", _freshness(found, definition) + _computed(found, definition, now)),
        (" class=n", f"{found.rows:,}<small>{found.total:,} in all</small>"),
        (" class=n", nulls if found.rows else ""),
        (" class=n", f"{found.seconds:.2f} s<small>{_bytes(found.size)}</small>"),
        ("", _verdict(found)),
    )
    return "<tr>" + "".join(f"<td{kind}>{cell}" for kind, cell in cells) + "</tr>"


def _users(view: str) -> str:
    """The models that ask for the view: it is computed once for all of them."""
    return ", ".join(models_with(view)) or "nobody"


def _link(view: str, version: int) -> str:
    return f"{DAG}?view={quote(view, safe='')}&amp;version={version}"


def _freshness(found: ViewHealth, definition: Definition) -> str:
    """The age of the newest value; marked if that is older than values live."""
    if found.freshness is None:
        return "no value"
    stale = definition.ttl is not None and found.freshness > definition.ttl
    said = _age(found.freshness)
    return (
        f"<span class=warn>{said}<small>older than {_age(definition.ttl)}</small></span>" if stale else said
    )


def _ago(found: ViewHealth, now: datetime) -> timedelta:
    """Since when, by the clock, the view's version was not computed."""
    return now - (found.recorded_at or now)


def _computed(found: ViewHealth, definition: Definition, now: datetime) -> str:
    """How long ago it was computed; marked if no value that was new then lives any more."""
    ago = _ago(found, now)
    dead = definition.ttl is not None and ago > definition.ttl
    said = f"<small>computed {_age(ago)} ago</small>"
    return f"<span class=warn>{said}</span>" if dead else said


def _verdict(found: ViewHealth) -> str:
    word, kind = (
        state(found),
        {"refused": "no", "warning": "warn", "healthy": "yes"}.get(state(found), "soft"),
    )
    failed = "".join(f"<small>{escape(said(check))}</small>" for check in found.failed)
    passed = len(found.checks) - len(found.failed)
    count = f", {passed} of {len(found.checks)} passed" if found.checks else ""
    return f"<span class={kind}>{word}{count}</span>{failed}"


def _about(found: ViewHealth, definition: Definition, others: list[int], now: datetime) -> str:
    facts = {
        "owner": definition.owner,
        "used by": _users(found.view),
        "entities": ", ".join(definition.entities),
        "as of": f"{found.as_of:%Y-%m-%d %H:%M} UTC",
        "freshness": _age(found.freshness) if found.freshness is not None else "no value",
        "computed": f"{_age(_ago(found, now))} ago",
        "rows": f"{found.rows:,} computed, {found.total:,} in the table",
        "cost": f"{found.seconds:.2f} s, {_bytes(found.size)}",
        "history": f"held against {found.history} earlier runs"
        if found.history
        else "too short to hold against",
    }
    told = "".join(f"<tr><th>{name}<td>{escape(fact)}</tr>" for name, fact in facts.items() if fact)
    told += f"<tr><th>checks<td>{_verdict(found)}</tr>"
    links = ", ".join(f"<a href='{_link(found.view, n)}'>version {n}</a>" for n in others)
    also = f"<p>Also: {links}" if links else ""
    return f"<p><a href='{DAG}'>all views</a>{also}<p>{escape(definition.description)}<table>{told}</table>"


def _columns(filled: list[ViewHealth], definition: Definition) -> str:
    """What each column is, its last distribution and its recent runs as small charts; then the last checks."""
    if not filled:
        return "<p>No run of this view has given a row yet; its charts follow the first that does."
    names = ("column", "nulls", "min", "median", "max", "mean", "std", "distinct", "values")
    heads = "".join(f"<th{_right(name)}>{name}" for name in names)
    told, order = dict(definition.features), list(filled[-1].nulls)
    order.sort(key=lambda name: name not in definition.entities)
    rows = "".join(_column(name, told.get(name, "key"), filled) for name in order)
    return (
        f"<h2>Columns</h2><p class=soft>Numbers are of the last run with rows, as of {filled[-1].as_of:%Y-%m-%d %H:%M}"
        f" UTC. Charts show such runs, {len(filled)} of them, oldest first: the share of nulls from 0 to 100 %; then"
        " the median, the middle half and 98 % of the values.</p>"
        f"<table><tr>{heads}<th>nulls by run<th>values by run</tr>{rows}</table>"
        f"{_checks(filled[-1])}"
    )


def _column(name: str, description: str, runs: list[ViewHealth]) -> str:
    now = runs[-1].distributions.get(name, Distribution())
    numbers = (now.min, now.median, now.max, now.mean, now.std, now.distinct)
    cells = "".join(f"<td class=n>{_number(value)}" for value in numbers)
    nulls = line([run.nulls.get(name) for run in runs], f"share of nulls of {name}")
    past = [run.distributions.get(name, Distribution()) for run in runs]
    values = bands([(d.p01, d.p25, d.median, d.p75, d.p99) for d in past], f"values of {name}")
    lies = box(now.min, now.p01, now.p25, now.median, now.p75, now.p99, now.max) or _top(now)
    return (
        f"<tr><td>{escape(name)}<small>{escape(description)}</small><td class=n>{runs[-1].nulls[name]:.1%}{cells}"
        f"<td>{lies}<td>{nulls}<td>{values}</tr>"
    )


def _top(now: Distribution) -> str:
    return "".join(f"{escape(text)} <span class=soft>{count:,}</span><br>" for text, count in now.top)


def _checks(found: ViewHealth) -> str:
    if not found.checks:
        return f"<h2>Checks</h2><p>None: there is no expectations/features/{escape(found.view)}.json."
    rows = "".join(_checked(check) for check in found.checks)
    return f"<h2>Checks</h2><table><tr><th>rule<th>columns<th>severity<th>result<th>seen</tr>{rows}</table>"


def _checked(check: Check) -> str:
    kind = "yes" if check.passed else "no" if check.severity == "critical" else "warn"
    cells = (
        check.rule,
        check.feature,
        check.severity,
        "passed" if check.passed else "failed",
        check.observed,
    )
    return (
        f"<tr class={'' if check.passed else kind}>"
        + "".join(f"<td>{escape(cell)}" for cell in cells)
        + "</tr>"
    )


def _page(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(page(title, f"<h1>{escape(title)}</h1>{body}", CHARTS), headers=HEADERS)


def _right(name: str) -> str:
    return (
        ""
        if name in {"view", "owner", "used by", "entities", "as of", "checks", "column", "values"}
        else " class=n"
    )


def _age(span: timedelta | None) -> str:
    seconds = abs(span.total_seconds()) if span is not None else 0.0
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"  # 2001 is a year
    return f"{value:,.4g}"
