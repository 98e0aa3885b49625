"""What of a batch is there already: copies inside the file, and rows that silver holds."""

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.catalog import DatasetSpec
from pipelines.reading.staging import BAD, COPIES, LANDED, Staging, landed_schema
from pipelines.stores import Stores

HOUR = 3_600_000_000
"""In microseconds, as is"""
SINCE_1900 = 613_608 * HOUR
"""the time from 1900 to 1970."""


def set_copies_aside(spec: DatasetSpec, staged: Staging) -> None:
    """Keeps one of equal rows; of rows with one key that differ, none: they are bad."""
    keys = _list(spec.key)
    # Only rows whose key's hash occurs twice are looked at closely; usually there are none.
    staged.execute(
        f"CREATE TEMP TABLE twins AS SELECT hash({keys}) AS h FROM {LANDED} GROUP BY h HAVING count(*) > 1"
    )
    if staged.count("twins"):
        content = _list(name for name in landed_schema(spec).names if name != "_line")
        staged.execute(
            f"CREATE TEMP TABLE once AS SELECT {content}, list(_line ORDER BY _line) AS lines FROM {LANDED}"
            f" WHERE hash({keys}) IN (FROM twins) GROUP BY ALL"
        )
        staged.execute(
            f"CREATE TEMP TABLE rivals AS SELECT lines, count(*) OVER (PARTITION BY {keys}) AS n FROM once"
        )
        why = f"rows of this file with one key ({', '.join(spec.key)}) differ".replace("'", "''")
        staged.execute(
            f"INSERT INTO {BAD} SELECT unnest(lines), 'conflicting rows', '{why}', NULL FROM rivals WHERE n > 1"
        )
        staged.execute(
            f"INSERT INTO {COPIES} SELECT unnest(lines[2:]), 'a copy of line ' || lines[1] FROM rivals WHERE n = 1"
        )
        staged.drop_from_play()
    staged.execute("DROP TABLE twins")


def set_known_aside(
    spec: DatasetSpec, batch: str | None, staged: Staging, stores: Stores, version: int | None
) -> None:
    """Takes the rows out of play that silver holds, all columns compared, in other batches than `batch`,
    at a version of it.

    A known key with other content is a correction and stays: readers take the row with the newest
    available_at up to their as-of, so earlier answers do not change.
    """
    time = spec.event_time
    span = staged.connection.execute(f'SELECT min("{time}"), max("{time}") FROM {LANDED}').fetchone()
    low, high = span or (None, None)
    silver = stores.tables.dataset("silver", spec.name, version)
    if low is None or silver is None:
        return
    content = [name for name in landed_schema(spec).names if name != "_line" and name in silver.schema.names]
    near = (pc.field(time) >= pa.scalar(low)) & (pc.field(time) <= pa.scalar(high))
    if batch is not None:
        near &= pc.field("_batch") != batch
    scanner = silver.scanner([*content, "_batch"], filter=near, batch_readahead=2, fragment_readahead=1)
    same = " AND ".join(f'k."{name}" IS NOT DISTINCT FROM l."{name}"' for name in content)
    staged.connection.register("known", scanner)
    staged.execute(
        f"INSERT INTO {COPIES} SELECT l._line, 'silver has it from batch ' || min(k._batch) FROM {LANDED} l"
        f" JOIN known k ON {same} GROUP BY l._line"
    )
    staged.connection.unregister("known")
    staged.drop_from_play()


def profile(spec: DatasetSpec, staged: Staging) -> dict[str, float]:
    """What later batches are held against: rows, hours with rows, means, and shares that are filled."""
    numbers = [name for name, column in spec.columns.items() if column.type in ("integer", "float")]
    # Counted from 1900, before which no time counts: `//` cuts towards zero. date_trunc asks a calendar of each row.
    hour = f'(epoch_us("{spec.event_time}") + {SINCE_1900}) // {HOUR}'
    parts = ['count(*) AS "rows"', f'count(DISTINCT {hour}) AS "hours"']
    parts += [f'avg("{name}") AS "{name}_mean"' for name in numbers]
    parts += [f'avg(("{name}" IS NOT NULL)::INT) AS "{name}_filled"' for name in spec.columns]
    cursor = staged.connection.execute(f"SELECT {', '.join(parts)} FROM {LANDED}")
    values = dict(zip([d[0] for d in cursor.description or ()], cursor.fetchone() or (), strict=True))
    return {name: float(value) for name, value in values.items() if value is not None}


def _list(names: object) -> str:
    return ", ".join(f'"{name}"' for name in names)  # type: ignore[attr-defined]
