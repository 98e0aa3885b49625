"""How a feature view is when it is computed: measured, held against its suite, recorded, and told."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads

from pipelines.contracts import EvergreenError
from pipelines.features.health.bounds import MOST, parameters, recent
from pipelines.features.health.measures import loaded, measured
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.feature_store.health import CRITICAL, INFO, Check, Health, Past, ViewHealth


def examine(
    view: str,
    version: int,
    rows: pa.Table | pads.Dataset,
    as_of: datetime,
    seconds: float,
    stores: Stores,
) -> ViewHealth:
    """Measures the rows that are to be published for a view up to `as_of`, checks them, and records the outcome.

    `seconds` is what computing them took. EvergreenError if a critical check fails: the record is written all the
    same, and the rows must not be published. Without rows nothing is checked. The table's `total`, `size` and,
    without rows, `newest` are those of the run before, until `published` says otherwise.
    """
    kept = Health(stores.settings.database)
    before = kept.before(view, version, as_of)
    count = rows.num_rows if isinstance(rows, pa.Table) else rows.count_rows()
    found = ViewHealth(view, version, as_of, count, seconds)
    if before is not None:
        found = replace(found, total=before.total, size=before.size, newest=before.newest)
    if count:
        past = recent(kept.past(view, version, as_of, MOST), as_of)
        was, found = found.newest, _measured(replace(found, history=len(past)), rows, past, stores.settings)
        # What is refused stays out of the table, which is then no fresher than before.
        found = replace(found, newest=was) if found.refused else found
    kept.record(found)
    _refuse(found, stores)
    return found


def _measured(
    found: ViewHealth, rows: pa.Table | pads.Dataset, past: list[Past], settings: Settings
) -> ViewHealth:
    from pipelines.features.health import suites

    suite = suites.load(found.view, found.version, settings.expectations / "features")
    with loaded(rows, settings) as table:
        found = replace(found, **measured(table))
        if suite is None:
            return found
        bounds = parameters(found.rows, found.moments, found.as_of, past, suite.named)
        return replace(found, checks=suites.checked(suite, table, bounds))


def _refuse(found: ViewHealth, stores: Stores) -> None:
    broken = [check for check in found.failed if check.severity == CRITICAL]
    if broken:
        events.not_published(found, stores)
        seen = "; ".join(said(check) for check in broken)
        raise EvergreenError(
            f"feature view {found} as of {found.as_of:%Y-%m-%d %H:%M} UTC: {seen}. Nothing of it was published:"
            f" mend the data or {found.view}.sql and compute again; if the rule is wrong, mend"
            f" expectations/features/{found.view}.json"
        )


def said(check: Check) -> str:
    """A check in words: its feature, its rule, and what it saw."""
    return f"{check.feature or 'the rows'}: {check.rule}; saw {check.observed}"


def published(found: ViewHealth, stores: Stores) -> ViewHealth:
    """Records how many rows and bytes the view's table holds, once the rows are in it.

    `newest` moves back if a recomputation has taken it out of the table.
    """
    from deltalake import DeltaTable

    table = DeltaTable(stores.tables.uri("features", f"{found.view}/v{found.version}"))
    files = pa.table(table.get_add_actions(flatten=True)).to_pydict()
    noted = replace(
        found,
        total=sum(count or 0 for count in files["num_records"]),
        size=sum(files["size_bytes"]),
        newest=_still_there(found.newest, files.get("max.event_timestamp", [])),
    )
    Health(stores.settings.database).record(noted)
    return noted


def _still_there(newest: datetime | None, maxima: list[datetime | None]) -> datetime | None:
    """`newest`, unless the files' statistics (of milliseconds) say that nothing so new is left."""
    known = [moment for moment in maxima if moment is not None]
    if newest is None or not maxima:
        return None if not maxima else newest
    if not known:
        return newest
    last = max(known)
    last = last.replace(tzinfo=UTC) if last.tzinfo is None else last
    return newest if last > newest - timedelta(milliseconds=1) else last


def alerts(found: Iterable[ViewHealth]) -> list[dict[str, str]]:
    """What people should hear of some runs: one alert (what, why, act) for each with warnings or worse."""
    return [alert for each in found for alert in _alert(each)]


def _alert(found: ViewHealth) -> Iterable[dict[str, str]]:
    told = [check for check in found.failed if check.severity != INFO]
    if not told:
        return
    act = "Not now. The rows were published; see the tab Evergreen of the DAG features."
    if found.refused:
        act = (
            "Yes. The rows were not published; see the tab Evergreen of the DAG features, mend the view or its data,"
            " compute again."
        )
    what = f"feature view {found}: {len(told)} of {len(found.checks)} checks failed"
    yield {"what": what, "why": "; ".join(said(check) for check in told), "act": act}


def overview(stores: Stores, view: str | None = None) -> list[dict[str, Any]]:
    """One plain row per view and version, or per feature of one view, for a person at a command line.

    EvergreenError if nothing, or nothing of that name, was computed yet.
    """
    found = Health(stores.settings.database).latest()
    if not found:
        raise EvergreenError("no feature view was computed yet; run `evergreen features compute`")
    if view is None:
        return [_line(each) for each in found]
    ours = [each for each in found if each.view == view]
    if not ours:
        known = ", ".join(sorted({each.view for each in found}))
        raise EvergreenError(f"no feature view {view!r} was computed yet; there are: {known}")
    return [line for each in ours for line in _features(each)]


def _line(found: ViewHealth) -> dict[str, Any]:
    worst = max(found.nulls, key=lambda name: found.nulls[name], default=None)
    return {
        "view": found.view,
        "version": found.version,
        "as_of": found.as_of.isoformat(),
        "freshness_seconds": None if found.freshness is None else found.freshness.total_seconds(),
        "rows": found.rows,
        "total": found.total,
        "bytes": found.size,
        "seconds": round(found.seconds, 3),
        "most_nulls": f"{worst} {found.nulls[worst]:.1%}" if worst and found.nulls[worst] else "none",
        "checks": len(found.checks),
        "failed": len(found.failed),
        "state": state(found),
    }


def state(found: ViewHealth) -> str:
    """In a word, how a run ended."""
    if found.refused:
        return "refused"
    if found.failed:
        return "warning"
    return "healthy" if found.checks else "unchecked" if found.rows else "nothing new"


def _features(found: ViewHealth) -> Iterable[dict[str, Any]]:
    for name, share in found.nulls.items():
        values = {k: v for k, v in vars(found.distributions[name]).items() if k != "top"}
        failed = [said(check) for check in found.failed if name in check.feature.split(", ")]
        key = {"view": found.view, "version": found.version, "feature": name, "null_share": share}
        yield key | values | {"failed": "; ".join(failed)}
