"""Where every landed row lies. What attempts that did not count have left in the tables is left out."""

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.catalog import DatasetSpec
from pipelines.stores import Stores


def places(spec: DatasetSpec, stores: Stores) -> pa.Table:
    """Each row of each batch that is in: `batch` (digest), `line`, and `place` (silver, quarantine, superseded)."""
    silver = stores.tables.silver(spec).to_table(["_batch", "_line"]).rename_columns(["batch", "line"])
    parts = [silver.append_column("place", pa.array(["silver"] * silver.num_rows, pa.string()))]
    for layer, rows in (("quarantine", quarantine(spec, stores)), ("superseded", superseded(spec, stores))):
        named = rows.select(["_batch", "line"]).rename_columns(["batch", "line"])
        parts.append(named.append_column("place", pa.array([layer] * rows.num_rows, pa.string())))
    return pa.concat_tables(parts)


def quarantine(spec: DatasetSpec, stores: Stores, digest: str | None = None) -> pa.Table:
    """The rows that are in quarantine now, of one batch or of all: file, line, rule, reason and raw bytes."""
    now = {(b.digest, b.attempt) for b in stores.ledger.batches(spec.name) if b.state.taken}
    return _counting("quarantine", spec, stores, now, digest)


def broken_rules(spec: DatasetSpec, stores: Stores) -> dict[str, dict[str, int]]:
    """How many rows that are in quarantine now broke which rule, the most first, by their batch's digest."""
    found = stores.tables.dataset("quarantine", spec.name)
    if found is None:
        return {}
    each = found.to_table(["_batch", "_attempt", "rule"]).group_by(["_batch", "_attempt", "rule"])
    counts = each.aggregate([([], "count_all")])
    now = {(b.digest, b.attempt) for b in stores.ledger.batches(spec.name) if b.state.taken}
    told = dict[str, dict[str, int]]()
    for row in counts.sort_by([("count_all", "descending"), ("rule", "ascending")]).to_pylist():
        if (row["_batch"], row["_attempt"]) in now:
            told.setdefault(row["_batch"], {})[row["rule"]] = row["count_all"]
    return told


def superseded(spec: DatasetSpec, stores: Stores, digest: str | None = None) -> pa.Table:
    """The rows that were there already, and which row or batch they repeat."""
    return _counting("superseded", spec, stores, stores.ledger.decided(spec.name), digest)


def _counting(
    layer: str, spec: DatasetSpec, stores: Stores, attempts: set[tuple[str, int]], digest: str | None
) -> pa.Table:
    """A table's rows whose batch and attempt count."""
    from pipelines.ingestion.ingest import QUARANTINE, SUPERSEDED

    found = stores.tables.dataset(layer, spec.name)
    if found is None:
        return (QUARANTINE if layer == "quarantine" else SUPERSEDED).empty_table()
    rows = found.to_table(filter=None if digest is None else pc.field("_batch") == digest)
    pairs = zip(rows["_batch"].to_pylist(), rows["_attempt"].to_pylist(), strict=True)
    return rows.filter(pa.array([pair in attempts for pair in pairs], pa.bool_()))
