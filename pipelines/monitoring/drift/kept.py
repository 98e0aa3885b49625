"""The reference of a model version as a file: Parquet, a row per column. Beside it: how well past windows are told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.monitoring.drift.bins import Bins
from pipelines.monitoring.drift.column import Column
from pipelines.monitoring.drift.domain import Shape
from pipelines.monitoring.drift.reference import Reference
from pipelines.places import whole

FORMAT = 2


def write(reference: Reference, of: dict[str, Any], path: Path) -> None:
    """Keep a reference, and what it is `of`, so that another is not taken for it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "column": name,
            "kind": each.bins.kind,
            "edges": list(each.bins.edges),
            "levels": list(each.bins.levels),
            "counts": each.counts.ravel().tolist(),
            "weight": reference.weights.get(name),
        }
        for name, each in reference.columns.items()
    ]
    facts = {"format": FORMAT, "of": of, "days": reference.days, "window": reference.window}
    told = {b"evergreen": json.dumps(facts | {"seasons": reference.seasons}).encode()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        pq.write_table(pa.Table.from_pylist(rows, _schema()).replace_schema_metadata(told), part)


def _schema() -> Any:
    import pyarrow as pa

    kinds = {"column": pa.string(), "kind": pa.string(), "edges": pa.list_(pa.float64())}
    more = {"levels": pa.list_(pa.string()), "counts": pa.list_(pa.float64()), "weight": pa.float64()}
    return pa.schema(kinds | more)


def read(of: dict[str, Any] | None, path: Path) -> Reference | None:
    """The reference that was kept, if it is of the same; of whatever it is, if None."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        facts = json.loads((table.schema.metadata or {})[b"evergreen"])
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
    if facts["format"] != FORMAT or (of is not None and facts["of"] != json.loads(json.dumps(of))):
        return None
    days, columns, weights = tuple(facts["days"]), {}, {}
    for row in table.to_pylist():
        cut = Bins(row["kind"], tuple(row["edges"]), tuple(row["levels"]))
        counts = np.asarray(row["counts"]).reshape(3, len(days), len(cut))
        columns[row["column"]] = Column(cut, counts)
        if row["weight"] is not None:
            weights[row["column"]] = row["weight"]
    return Reference(days, columns, facts["window"], tuple(facts["seasons"]), weights)


def past(
    of: dict[str, Any], like: Shape, path: Path, made: Callable[[], tuple[float, ...]]
) -> tuple[float, ...]:
    """The AUCs of a reference's past windows that were kept of the same; else they are `made`, and kept as JSON."""
    same = json.loads(json.dumps({"format": FORMAT, "of": of}))
    known, key = _known(path, same), f"{like.days} days, {like.rows} rows"
    if key not in known:
        known[key] = list(made())
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as part:
            part.write_text(json.dumps(same | {"past": known}))
    return tuple(known[key])


def _known(path: Path, same: dict[str, Any]) -> dict[str, list[float]]:
    """What a file has by shape, if it is of the same."""
    try:
        found = json.loads(path.read_text())
        told = {str(key): [float(each) for each in aucs] for key, aucs in found.pop("past").items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return told if found == same else {}
