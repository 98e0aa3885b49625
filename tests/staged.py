"""Reading and validating one file by hand: what lies in staging afterwards."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from pipelines.catalog import DatasetSpec
from pipelines.reading import files
from pipelines.reading.records import Bad, Hashed, open_regular
from pipelines.reading.staging import LANDED, Staging, staging
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.validation import validate


@dataclass(frozen=True)
class Found:
    table: pa.Table
    bad: list[Bad]
    parsed: int
    note: str | None
    digest: str


def bad_rows(staged: Staging) -> list[Bad]:
    query = "SELECT line, rule, reason, raw FROM bad ORDER BY line"
    return [Bad(*row) for row in staged.connection.execute(query).fetchall()]


def read(path: Path, spec: DatasetSpec) -> Found:
    with TemporaryDirectory() as home, staging(spec, Settings(_env_file=None, home=home)) as staged:
        found = files.read(path, spec, staged)
        table = staged.connection.execute(f"SELECT * FROM {LANDED} ORDER BY _line").to_arrow_table()
        return Found(table, bad_rows(staged), found.parsed, found.note, found.digest)


def raw_lines(path: Path, spec: DatasetSpec, lines: set[int]) -> dict[int, bytes]:
    with open_regular(path) as file:
        parts = files._source(Hashed(file), path, spec).raw(np.array(sorted(lines), np.int64))
        return {line: raw for part in parts for line, raw in part.items()}


def validated(
    spec: DatasetSpec, table: pa.Table, stores: Stores
) -> tuple[validate.Validation, dict[int, Bad]]:
    with staging(spec, stores.settings) as staged:
        missing = [name for name in ("_rescued",) if name not in table.column_names]
        for name in missing:
            table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
        staged.land(table.select([*spec.columns, "_rescued", "_line"]))
        staged.seal()
        found = validate.validate(spec, staged, stores, "abc")
        return found, {bad.line: bad for bad in bad_rows(staged)}
