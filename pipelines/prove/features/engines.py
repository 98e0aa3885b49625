"""Every feature view gives the same values on Spark as on DuckDB, over the same rows."""

import calendar
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.catalog import ModelSpec, dataset, model, models
from pipelines.contracts import EvergreenError, Say
from pipelines.features import silver
from pipelines.features.spark import SparkSilver, check_installed
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.loop.replay import replay
from pipelines.prove import Proof
from pipelines.prove.ingestion import scratch
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores
from pipelines.upstream import story

PROMISE = "every feature view gives the same rows and values on Spark as on DuckDB"
CLOSE = 1e-12
"""How far apart, relative to the larger, floats may be whose sums were added in another order."""


def prove(
    name: str | None, month: str | None, say: Say, days: int | None = None, master: str = "local[*]"
) -> Proof:
    """Computes all feature views of a month such as 2013-01 on both engines and compares every value.

    Each model's, by default, over the first month that there is of it. With `days`, only of so many first days.
    EvergreenError if Spark or Java is missing.
    """
    check_installed()
    rows, failures, done = [], list[str](), set[str]()
    for spec in [model(name)] if name else models().values():
        views = {view: sql for view, sql in _views(spec).items() if view not in done}
        if views and (name or _is_played(spec)):
            first, last = _span(month or f"{story(spec).begin:%Y-%m}", days)
            found = _compared(spec, views, first, last, master, say)
            rows += [each.row() for each in found]
            failures += [failure for each in found for failure in each.failures]
            done |= set(views)
    return Proof(PROMISE, rows, failures)


def _views(spec: ModelSpec) -> dict[str, str]:
    """The SQL of every view that can be computed from a model's datasets."""
    from pipelines.features.dialects import datasets_in

    texts = {path.stem: path.read_text() for path in sorted((PROJECT / "feature_repo").glob("*.sql"))}
    return {view: sql for view, sql in texts.items() if set(datasets_in(sql)) <= set(spec.datasets)}


def _is_played(spec: ModelSpec) -> bool:
    return all(dataset(name).upstream for name in (*spec.datasets, spec.label.dataset))


def _compared(
    spec: ModelSpec, views: Mapping[str, str], first: date, last: date, master: str, say: Say
) -> "list[Comparison]":
    """Each view over the same days on both engines."""
    with scratch() as folder:
        sides = _Sides(_landed(spec, folder, first, last, say), spec, last, master)
        found = [sides.compare(view, sql, say) for view, sql in views.items()]
        sides.close()
    return found


def _span(month: str, days: int | None) -> tuple[date, date]:
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise EvergreenError(f"{month!r} is no month; write one such as 2013-01") from error
    length = calendar.monthrange(first.year, first.month)[1]
    return first, first + timedelta(days=min(days or length, length) - 1)


def _landed(spec: ModelSpec, folder: Path, first: date, last: date, say: Say) -> Stores:
    """A home whose silver holds a model's rows of these days."""
    stores = Stores(Settings(_env_file=None, home=folder / "home"))
    files = list(replay(spec.name, first, last, "bulk", stores.settings.landing_path))
    taken = [result for name in _read(spec) for result in ingest_dataset(dataset(name), stores)]
    rows = sum(result.silver for result in taken)
    if not rows:
        raise EvergreenError(
            f"{spec.name}: no row is known from {first} to {last}; there are some from {story(spec).begin} on"
        )
    say(f"{spec.name}, {first} to {last}: {len(files)} files, {rows:,} rows in silver")
    return stores


def _read(spec: ModelSpec) -> list[str]:
    return sorted({*spec.datasets, spec.label.dataset})


class _Sides:
    """The same relations on both engines."""

    def __init__(self, stores: Stores, spec: ModelSpec, last: date, master: str) -> None:
        self._end = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
        names = _read(spec)
        self._duckdb = silver.connect(stores, [dataset(name) for name in names], self._end)
        relations = {name: self._duckdb.table(name).to_arrow_table() for name in names}
        self._spark = SparkSilver(relations, master)

    def compare(self, view: str, sql: str, say: Say) -> "Comparison":
        """One view on both engines."""
        from pipelines.features.dialects import datasets_in

        sources = datasets_in(sql)
        window = {"start": self._start(sources), "end": self._end}
        begun = time.monotonic()
        given = {name: moment.replace(tzinfo=None) for name, moment in window.items() if f"${name}" in sql}
        ours = self._duckdb.execute(sql, given).to_arrow_table()
        between = time.monotonic()
        theirs = self._spark.query(sql, window)
        seconds = between - begun, time.monotonic() - between
        found = compared(view, ours, theirs)
        found.seconds = {"duckdb s": round(seconds[0], 2), "spark s": round(seconds[1], 2)}
        say(f"{view} (from {', '.join(sources)}): {found.row()}")
        return found

    def _start(self, sources: list[str]) -> datetime:
        """Just before the first row of any of these datasets was known."""
        rows = " union all ".join(f"select available_at from {name}" for name in sources)
        found = self._duckdb.execute(f"select min(available_at) - interval 1 microsecond from ({rows})")
        (moment,) = found.fetchone() or (None,)
        return moment.replace(tzinfo=UTC) if moment is not None else self._end

    def close(self) -> None:
        self._spark.close()
        self._duckdb.close()


@dataclass
class Comparison:
    """How the answers of two engines compare, value by value; a failure names the first difference of its kind."""

    view: str
    rows: int = 0
    values: int = 0
    equal: int = 0
    close: int = 0
    different: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """The comparison in one row of a table."""
        return {
            "view": self.view, "rows": self.rows, "values": self.values, "equal bits": self.equal,
            f"equal within {CLOSE:.0e}": self.close, "different": self.different, **self.seconds,
        }  # fmt: skip


def compared(view: str, ours: pa.Table, theirs: pa.Table) -> Comparison:
    """Compares two answers as bags of rows: all but floats to the bit, floats to the bit or within 1e-12 relative."""
    found = Comparison(view, ours.num_rows, ours.num_rows * ours.num_columns)
    if ours.schema != theirs.schema:
        found.failures.append(f"{view}: columns {_columns(theirs)} on Spark, {_columns(ours)} on DuckDB")
    elif ours.num_rows != theirs.num_rows:
        found.failures.append(f"{view}: {theirs.num_rows} rows on Spark, {ours.num_rows} on DuckDB")
    elif not ours.num_rows:
        found.failures.append(f"{view}: no row to compare")
    else:
        _compare_values(found, _sorted(ours), _sorted(theirs))
    if found.failures and not found.different:
        found.different = found.values or 1
    return found


def _columns(table: pa.Table) -> str:
    return ", ".join(f"{f.name} {f.type}" for f in table.schema)


def _sorted(table: pa.Table) -> pa.Table:
    """The rows by their exact columns, times and keys before the rest; ties by the floats."""
    kinds = {f.name: pa.types.is_floating(f.type) for f in table.schema}
    table = table.rename_columns([str(n) for n in range(table.num_columns)])
    names = sorted(table.column_names, key=lambda name: list(kinds.values())[int(name)])
    table = table.sort_by([(name, "ascending") for name in names])
    return table.rename_columns(list(kinds))


def _compare_values(found: Comparison, ours: pa.Table, theirs: pa.Table) -> None:
    for name, left, right in zip(ours.column_names, ours.columns, theirs.columns, strict=True):
        same, close = _same(left.combine_chunks(), right.combine_chunks())
        wrong = ~(same | close)
        found.equal += int(same.sum())
        found.close += int((close & ~same).sum())
        found.different += int(wrong.sum())
        for at in _first(wrong):
            found.failures.append(_sentence(found.view, name, ours, theirs, at))


def _same(left: pa.Array, right: pa.Array) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Where two columns are equal to the bit, and where they are close."""
    null = left.is_null().to_numpy(False), right.is_null().to_numpy(False)
    both, either = null[0] & null[1], null[0] | null[1]
    if not pa.types.is_floating(left.type):
        same = pc.fill_null(pc.equal(left, right), False).to_numpy(False)
        return (same & ~either) | both, np.zeros(len(left), bool)
    values = [pc.fill_null(side, 0.0).to_numpy(False).astype(np.float64) for side in (left, right)]
    bits = (values[0].view(np.int64) == values[1].view(np.int64)) | (
        np.isnan(values[0]) & np.isnan(values[1])
    )
    with np.errstate(invalid="ignore", over="ignore"):
        close = np.abs(values[0] - values[1]) <= CLOSE * np.maximum(np.abs(values[0]), np.abs(values[1]))
    finite = np.isfinite(values[0]) & np.isfinite(values[1])
    return (bits & ~either) | both, close & finite & ~either


def _first(wrong: "np.ndarray[Any, Any]") -> list[int]:
    return [int(at) for at in np.flatnonzero(wrong)[:1]]


def _sentence(view: str, name: str, ours: pa.Table, theirs: pa.Table, at: int) -> str:
    """What differs in the first row that does, and which row that is."""
    row = ours.slice(at, 1).to_pylist()[0]
    keys = ", ".join(_key(row))
    return f"{view} of {keys}: {name} is {theirs[name][at].as_py()!r} on Spark, {row[name]!r} on DuckDB"


def _key(row: dict[str, Any]) -> Iterator[str]:
    for name, value in row.items():
        if isinstance(value, str | datetime):
            yield f"{name} {value}"
