"""`evergreen retain`: rows that outlived their dataset's retention leave every version of every table, and their files.

Time is the data's: a row's age counts from the newest row of its dataset that has landed, so a replay keeps what it is
about. A dataset whose files stop coming keeps its last rows until somebody names a moment.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines import catalog
from pipelines.catalog import DatasetSpec
from pipelines.contracts import BatchState, EvergreenError, IngestResult, NothingToDo, Say
from pipelines.ingestion.arrivals import kept
from pipelines.stores import Stores
from pipelines.stores.erasures import Erasures
from pipelines.stores.locks import erasing
from pipelines.stores.purging import purged, without

if TYPE_CHECKING:
    from deltalake import DeltaTable

PATIENCE = 30.0


@dataclass(frozen=True)
class Retained:
    """What of a dataset was older than it may be, and is gone unless `dry`: `rows` by table, and files as they landed.

    `pins` says of each champion that was trained on those versions that it cannot be made again; of each model whose
    window is longer than the rows are kept, that it learns from fewer.
    """

    dataset: str
    before: datetime
    rows: dict[str, int]
    files: int
    dry: bool
    pins: tuple[str, ...] = field(default=())

    @property
    def empty(self) -> bool:
        return not (self.files or any(self.rows.values()))


def retain(
    names: Iterable[str],
    stores: Stores,
    now: datetime,
    as_of: datetime | None = None,
    dry: bool = False,
    say: Say = lambda _: None,
) -> list[Retained]:
    """Removes what is too old of each of these datasets that has a retention; NothingToDo if none has or nothing is.

    EvergreenError, before anything is removed, if a feature view looks back farther than the rows are kept.
    """
    specs = [spec for name in names if (spec := catalog.dataset(name)).retention is not None]
    if not specs:
        raise NothingToDo("no dataset has a `retention` in its yaml")
    for spec in specs:
        _long_enough(spec, stores)
    if dry:
        found = [each for spec in specs if (each := _retained(spec, stores, now, as_of, dry, say))]
    else:
        with erasing(stores.settings, PATIENCE):
            found = [each for spec in specs if (each := _retained(spec, stores, now, as_of, dry, say))]
    if all(each.empty for each in found):
        raise NothingToDo("no row is older than its dataset's retention")
    return found


def _long_enough(spec: DatasetSpec, stores: Stores) -> None:
    """EvergreenError if a view would be computed from less than it reads."""
    from pipelines.features.view_rows import TICK

    for version in stores.features.current.values():
        needed = version.look_back + TICK
        if spec.name in version.sources and spec.retention is not None and spec.retention < needed:
            raise EvergreenError(
                f"{spec.name} keeps rows for {_days(spec.retention)}, and the view {version.view} looks back"
                f" {_days(version.look_back)}, and a day for its first window; nothing was removed: raise"
                f" `retention` to at least {_days(needed)}"
            )


def _retained(
    spec: DatasetSpec, stores: Stores, now: datetime, as_of: datetime | None, dry: bool, say: Say
) -> Retained | None:
    newest = as_of or stores.ledger.watermark(spec.name)
    if newest is None or spec.retention is None:
        return None
    before = newest - spec.retention
    old = _ended_before(spec, stores, before)
    meant = {f"silver/{spec.name}": _older(spec.event_time, before), **_views(spec, before, stores)}
    if old:
        batches = ", ".join(f"'{each}'" for each in sorted(old))
        meant |= {f"{layer}/{spec.name}": f"_batch IN ({batches})" for layer in ("quarantine", "superseded")}
    rows = {table: _counted(table, predicate, stores) for table, predicate in meant.items()}
    due = {table: count for table, count in rows.items() if count}
    files = [path for each in old.values() if (path := kept(each, stores)).exists()]
    answer = Retained(spec.name, before, due, len(files), dry, tuple(_pins(spec, due, stores)))
    if not dry and not answer.empty:
        _said(answer, stores, now)
        for table in due:
            say(f"{table}: {due[table]:,} rows before {before:%Y-%m-%d %H:%M}")
            _gone(table, meant[table], stores, now)
        for path in files:
            path.unlink()
    return answer


def _ended_before(spec: DatasetSpec, stores: Stores, before: datetime) -> dict[str, IngestResult]:
    """The batches that are in and of which every row became known before a moment, by their digest."""
    batches = stores.ledger.batches(spec.name, BatchState.COMMITTED)
    return {each.digest: each for each in batches if each.last_known is not None and each.last_known < before}


def _views(spec: DatasetSpec, before: datetime, stores: Stores) -> dict[str, str]:
    """The rows of views that are made from rows of the dataset, and are as old."""
    found = {}
    for version in stores.features.registered.versions():
        if spec.name in version.sources and not spec.reference:
            found[f"features/{version.table}"] = _older("event_timestamp", before)
    return found


def _older(column: str, before: datetime) -> str:
    return f"\"{column}\" < '{before.astimezone(UTC).isoformat()}'"


def _table(name: str, stores: Stores) -> "DeltaTable | None":
    layer, _, table = name.partition("/")
    return stores.tables.table(layer, table)


def _counted(name: str, predicate: str, stores: Stores) -> int:
    import duckdb

    from pipelines.stores.tables import rows_of

    table = _table(name, stores)
    if table is None:
        return 0
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("kept", rows_of(table).scanner())
        found = connection.execute(f"select count(*) from kept where {predicate}").fetchone()
    return int(found[0]) if found else 0


def _gone(name: str, predicate: str, stores: Stores, now: datetime) -> None:
    table = _table(name, stores)
    if table is not None:
        Erasures(stores.settings).cut(name, int(table.version()) + 1, now)
        without(table, predicate)
        purged(table)


def _pins(spec: DatasetSpec, due: dict[str, int], stores: Stores) -> Iterable[str]:
    for name, model in sorted(catalog.models().items()):
        if (
            model.label.dataset == spec.name
            and spec.retention is not None
            and model.training.window > spec.retention
        ):
            yield (
                f"{name} asks for labels of {_days(model.training.window)}, and finds those of {_days(spec.retention)}"
            )
        with suppress(EvergreenError):
            champion = stores.tracking.champion(name)
            tables = _tables_of(champion.run_id, stores) if champion is not None else {}
            if champion is not None and set(tables) & set(due):
                yield f"{name} version {champion.version}, the champion, cannot be made again from its record"


def _tables_of(run: str, stores: Stores) -> dict[str, int]:
    import json

    return dict(json.loads(stores.tracking.run(run).tags.get("delta_versions", "{}")))


def _said(answer: Retained, stores: Stores, now: datetime) -> None:
    """The audit log knows what is about to go, and why: the dataset's own words."""
    evidence = {
        "before": answer.before,
        "rows": answer.rows,
        "files": answer.files,
        "pins": list(answer.pins),
    }
    why = f"older than the retention of {answer.dataset}"
    stores.audit.append(now, stores.who, "retain", f"dataset:{answer.dataset}", why, evidence)


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):g}d"
