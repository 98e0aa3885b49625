"""Files of questions, CSV or Parquet, read in blocks of plain values."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as pads

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError

BLOCK = 1000
"""Rows that are answered at once."""
Row = dict[str, Any]


def blocks(path: Path, spec: ModelSpec) -> Iterator[list[Row]]:
    """The rows of a file, each with the model's fields alone; EvergreenError if it cannot be read or lacks a field.

    What is no value of its field's type stays as it was written, for the check of each question to tell.
    """
    dataset, fields = _opened(path, spec), [*spec.entities, *spec.request]
    lacking = [name for name in fields if name not in dataset.schema.names]
    if lacking:
        raise EvergreenError(
            f"{path.name} has no column {', '.join(lacking)}; {spec.name} is asked with {', '.join(fields)}"
        )
    try:
        for batch in dataset.to_batches(columns=fields, batch_size=BLOCK, batch_readahead=1):
            for part in (batch.slice(start, BLOCK) for start in range(0, batch.num_rows, BLOCK)):
                yield [_plain(spec, row, path) for row in part.to_pylist()]
    except (pa.ArrowInvalid, OverflowError) as error:
        raise EvergreenError(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from error


def _opened(path: Path, spec: ModelSpec) -> pads.Dataset:
    kind = path.suffix.lower()
    if not path.is_file() or kind not in {".csv", ".parquet"}:
        raise EvergreenError(f"{path} is no CSV or Parquet file; name one that ends in .csv or .parquet")
    texts = {name: pa.string() for name in [*spec.entities, *spec.request]}
    options = pacsv.ConvertOptions(column_types=texts, strings_can_be_null=True, null_values=[""])
    format_ = pads.CsvFileFormat(convert_options=options) if kind == ".csv" else "parquet"
    try:
        return pads.dataset(path, format=format_)
    except (pa.ArrowInvalid, OSError) as error:
        raise EvergreenError(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from error


def _plain(spec: ModelSpec, row: Row, path: Path) -> Row:
    """A row's values as JSON would have them."""
    fields, texts = {**spec.entities, **spec.request}, path.suffix.lower() == ".csv"
    return {name: _number(value, fields[name].type) if texts else _json(value) for name, value in row.items()}


def _number(text: str | None, kind: str) -> Any:
    made = {"integer": int, "float": float}.get(kind)
    if made is None or text is None:
        return text
    try:
        return made(text)
    except ValueError:
        return text


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
