"""Takes landed files in: each row ends in exactly one of silver, quarantine and superseded."""

import logging
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.catalog import DatasetSpec, datasets
from pipelines.contracts import Batch, BatchState, EvergreenError, IngestResult, TransientError
from pipelines.stages.arrivals import discover, put_away
from pipelines.stages.reading import Bad, raw_lines, read, refuse_if_too_many
from pipelines.stages.records import Refused, digest_of
from pipelines.stages.validate import report_path, validate
from pipelines.stores import Stores
from pipelines.stores.tables import silver_schema

__all__ = ["discover", "dry_run", "ingest", "ingest_dataset"]

LOG = logging.getLogger(__name__)
QUARANTINE = pa.schema(
    [
        ("_batch", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.binary()),
    ]
)


@dataclass(frozen=True)
class _Split:
    """A batch's rows by where they go."""

    silver: pa.Table
    bad: list[Bad]
    superseded: int
    note: str | None
    report: str | None
    parsed: int


def ingest_dataset(spec: DatasetSpec, stores: Stores) -> list[IngestResult]:
    """Takes in every settled file of a dataset, by name."""
    return [ingest(spec, batch, stores) for batch in discover(spec, stores)]


def dry_run(path: Path, stores: Stores) -> IngestResult:
    """What would become of a file, by its name, if it landed now; writes nothing but the report."""
    matching = [spec for spec in datasets().values() if fnmatchcase(path.name, spec.pattern)]
    if not matching:
        raise EvergreenError(f"no dataset has a pattern that {path.name!r} matches; see pipelines/datasets/")
    if not path.is_file():
        raise EvergreenError(f"{path} is no file; name one")
    spec, batch = matching[0], Batch(digest_of(path), matching[0].name, path.name, path.stat().st_size)
    try:
        return _result(spec, batch, _judge(spec, batch, stores, path))
    except Refused as error:
        return _refused(batch, str(error), report_path(spec, stores, batch.digest))


def ingest(spec: DatasetSpec, batch: Batch, stores: Stores) -> IngestResult:
    """Takes one file in, exactly once however often it is called; where its rows went.

    A file that cannot be trusted is refused with one reason. TransientError if it vanished or changed.
    """
    known = stores.ledger.see(batch)
    if known.state is BatchState.SEEN:
        try:
            result = _commit(spec, batch, stores)
        except Refused as error:
            LOG.warning("%s: %r refused: %s", spec.name, batch.name, error)
            result = _refused(batch, str(error), report_path(spec, stores, batch.digest))
        except TransientError:
            # Another run may have ended this batch and put the file away.
            ended = stores.ledger.result(batch.digest, spec.name)
            if ended is None or ended.state is BatchState.SEEN:
                raise
            return ended
        stores.ledger.record(result)
    ended = stores.ledger.result(batch.digest, spec.name)
    if ended is None:
        raise TransientError(f"the ledger lost batch {batch.digest}; run again")
    put_away(batch, ended.state, stores)
    return ended


def _commit(spec: DatasetSpec, batch: Batch, stores: Stores) -> IngestResult:
    """Writes a file's rows to quarantine and then to silver, whose commit decides that it is in."""
    path = stores.settings.landing_path / batch.name
    if stores.tables.committed("silver", spec.name, batch.digest):
        return _recount(spec, batch, stores, path)
    split = _judge(spec, batch, stores, path)
    if split.parsed != split.silver.num_rows + len(split.bad) + split.superseded:
        raise RuntimeError(f"{batch.name}: the rows do not add up; this is a fault of ours")
    if digest_of(path) != batch.digest:
        raise TransientError(f"{batch.name} changed while it was read; it will be looked at again")
    if split.bad:
        stores.tables.append("quarantine", spec.name, _quarantine(batch, split.bad), batch.digest)
    stores.tables.append("silver", spec.name, split.silver, batch.digest)
    return _result(spec, batch, split)


def _judge(spec: DatasetSpec, batch: Batch, stores: Stores, path: Path) -> _Split:
    """Reads and validates a file and says where each row goes; writes nothing but the report."""
    reading = read(path, spec)
    unique, conflicting = _without_copies(spec, reading.table)
    validation = validate(spec, unique, stores, batch.digest)
    if validation.blocked:
        raise Refused(f"validation: {validation.blocked}")
    rules = conflicting | validation.rows
    raw = raw_lines(path, spec, set(rules))
    bad = sorted(reading.bad + [Bad(line, *rules[line], raw[line]) for line in rules])
    refuse_if_too_many(spec, bad, reading.parsed)
    valid = _drop(unique, set(validation.rows))
    fresh = _not_yet_known(spec, batch, valid, stores)
    notes = [reading.note, *validation.warnings]
    copies = reading.table.num_rows - unique.num_rows - len(conflicting)
    superseded = copies + valid.num_rows - fresh.num_rows
    note = "; ".join(filter(None, notes)) or None
    return _Split(fresh, bad, superseded, note, validation.report, reading.parsed)


def _without_copies(spec: DatasetSpec, table: pa.Table) -> tuple[pa.Table, dict[int, tuple[str, str]]]:
    """One row of each set of equal rows, and every line whose key has rows that differ."""
    columns, keys = (", ".join(f'"{n}"' for n in names) for names in (spec.columns, spec.key))
    query = (
        f"WITH once AS (SELECT {columns}, min(_line) AS _line, list(_line) AS lines FROM landed GROUP BY ALL)"  # noqa: S608
        f" SELECT _line, lines, count(*) OVER (PARTITION BY {keys}) AS rivals FROM once"
    )
    with _session(landed=table) as connection:
        once = connection.sql(query).to_arrow_table()
    rivals = once.filter(pc.greater(once["rivals"], 1))
    lines = [line for copies in rivals["lines"].to_pylist() for line in copies]
    why = ("conflicting rows", f"rows of this file with one key ({', '.join(spec.key)}) differ")
    kept = once.filter(pc.equal(once["rivals"], 1))["_line"]
    return table.filter(pc.is_in(table["_line"], kept.combine_chunks())), dict.fromkeys(lines, why)


def _not_yet_known(spec: DatasetSpec, batch: Batch, table: pa.Table, stores: Stores) -> pa.Table:
    """The rows silver does not hold, all columns compared, with `_batch`.

    A known key with other content is a correction and stays: readers take the row with the newest
    available_at up to their as-of, so earlier answers do not change.
    """
    table = table.append_column("_batch", pa.array([batch.digest] * table.num_rows, pa.string()))
    known = stores.tables.dataset("silver", spec.name)
    if known is not None and table.num_rows:
        span = pc.min_max(table[spec.event_time]).as_py()
        column = pc.field(spec.event_time)
        near = known.to_table(
            columns=[*spec.columns, "_batch"],
            filter=(column >= span["min"]) & (column <= span["max"]) & (pc.field("_batch") != batch.digest),
        )
        same = " AND ".join(f'k."{n}" IS NOT DISTINCT FROM l."{n}"' for n in spec.columns)
        with _session(landed=table, known=near) as connection:
            query = f"SELECT l.* FROM landed l ANTI JOIN known k ON {same} ORDER BY _line"  # noqa: S608
            table = connection.sql(query).to_arrow_table()
    return table.select(silver_schema(spec).names).cast(silver_schema(spec))


def _session(**tables: pa.Table) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'UTC'")
    for name, table in tables.items():
        connection.register(name, table)
    return connection


def _drop(table: pa.Table, lines: set[int]) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["_line"], pa.array(list(lines), pa.int64()))))


def _recount(spec: DatasetSpec, batch: Batch, stores: Stores, path: Path) -> IngestResult:
    """The result of a batch whose rows are in silver although the ledger never heard of it."""
    reading = read(path, spec)
    mine = pc.field("_batch") == batch.digest
    silver = stores.tables.silver(spec).to_table(filter=mine)
    quarantine = stores.tables.dataset("quarantine", spec.name)
    lines = [] if quarantine is None else quarantine.to_table(["line"], filter=mine)["line"].to_pylist()
    bad = [Bad(line, "", "", b"") for line in lines]
    superseded = reading.parsed - silver.num_rows - len(bad)
    report = report_path(spec, stores, batch.digest)
    return _result(spec, batch, _Split(silver, bad, superseded, reading.note, report, reading.parsed))


def _result(spec: DatasetSpec, batch: Batch, split: _Split) -> IngestResult:
    first, last = _span(split.silver[spec.available_at])
    return IngestResult(
        digest=batch.digest,
        dataset=batch.dataset,
        name=batch.name,
        state=BatchState.COMMITTED,
        parsed=split.parsed,
        silver=split.silver.num_rows,
        quarantined=len(split.bad),
        superseded=split.superseded,
        reason=split.note,
        first_known=first,
        last_known=last,
        report=split.report,
    )


def _refused(batch: Batch, reason: str, report: str | None) -> IngestResult:
    return IngestResult(
        batch.digest, batch.dataset, batch.name, BatchState.REFUSED, reason=reason, report=report
    )


def _span(times: pa.ChunkedArray) -> tuple[datetime | None, datetime | None]:
    span = pc.min_max(times).as_py()
    return span["min"], span["max"]


def _quarantine(batch: Batch, bad: list[Bad]) -> pa.Table:
    rows = [(batch.digest, batch.name, *row) for row in bad]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, QUARANTINE.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=QUARANTINE)
