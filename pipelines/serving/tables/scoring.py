"""Batch scoring: each row of a file is asked as one question, and the answers lie in a Delta table, nothing twice."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import CannotAnswer, Predictor
from pipelines.serving.replies import logged
from pipelines.serving.served import Found, Said, Served
from pipelines.serving.tables.files import Row, blocks
from pipelines.serving.tables.questions import Unreadable, question
from pipelines.stores import Stores
from pipelines.stores.tables import Stream
from pipelines.stores.tracking.registry import file_digest

LAYER = "scores"
TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("file", pa.string()), pa.field("file_digest", pa.string()), pa.field("row", pa.int64()),
        pa.field("question", pa.string()), pa.field("answer", pa.float64()), pa.field("decision", pa.bool_()),
        pa.field("prediction", pa.string()), pa.field("probabilities", pa.string()),
        pa.field("version", pa.int64()), pa.field("digest", pa.string()), pa.field("degraded", pa.bool_()),
        pa.field("missing_features", pa.list_(pa.string())), pa.field("problem", pa.string()),
        pa.field("scored_at", TIME),
    ]
)  # fmt: skip
"""A row of the file, and what was answered: `question` and `probabilities` are JSON, `problem` says why there is no
answer. `answer` and the rest are those of the prediction log."""


@dataclass(frozen=True)
class Scored:
    """What became of a file: `answered` of its `rows`, the others have a `problem`.

    `new` is false for one whose answers by this version lay in the table already.
    """

    model: str
    version: int
    file: str
    rows: int
    answered: int
    degraded: int
    new: bool
    table: str


def score(spec: ModelSpec, path: Path, stores: Stores, now: datetime) -> Scored:
    """Ask the champion every question of a file, with what is online now, and add its answers to `scores/<model>`.

    A row that is no question of this model has its problem told in its place; a file that cannot be read is an error,
    and adds nothing. The same bytes by the same version are scored once.
    """
    if not path.is_file():
        raise EvergreenError(f"{path} is no file; name a CSV or Parquet file of questions")
    predictor = Predictor(spec, stores.tracking, stores.features, Metrics())
    predictor.follow()
    served, content = predictor.champion(), file_digest(path)
    batch = _Batch(predictor, served, path, content, now)
    txn = f"{content} by {served.version} {served.digest}"
    with TemporaryDirectory() as folder:
        kept = Path(folder) / "answers.parquet"
        new = stores.tables.committed(LAYER, spec.name, txn) is None
        if new:
            batch.write(kept)
            rows = Stream(SCHEMA, lambda: pa.RecordBatchReader.from_batches(SCHEMA, _batches(kept)))
            new = stores.tables.append(LAYER, spec.name, rows, txn)
    return _told(spec, served, path, content, new, stores)


@dataclass(frozen=True)
class _Batch:
    """One file, asked by one version."""

    predictor: Predictor
    served: Served
    path: Path
    content: str
    now: datetime

    def write(self, kept: Path) -> None:
        """The answers, block by block, to a file of the table's schema."""
        start = 0
        with pq.ParquetWriter(kept, SCHEMA) as writer:
            for block in blocks(self.path, self.predictor.spec):
                writer.write_table(pa.Table.from_pylist(self._answered(block, start), SCHEMA))
                start += len(block)
        if not start:
            raise EvergreenError(f"{self.path.name} holds no row")

    def _answered(self, block: list[Row], start: int) -> list[dict[str, Any]]:
        """A row of the table for each of the block's, in order."""
        bodies, rows = [], []
        for number, row in enumerate(block, start):
            made = self._row(number, row)
            try:
                bodies.append((made, question(self.predictor, number, row).model_dump()))
            except Unreadable as error:
                made["problem"] = str(error)
            rows.append(made)
        asked = [body for _, body in bodies]
        found = self.predictor.features(self.served, asked) if asked else []
        said = self.predictor.answers(self.served, list(zip(asked, found, strict=True)))
        for (made, _), known, answer in zip(bodies, found, said, strict=True):
            made |= self._said(known, answer)
        return rows

    def _row(self, number: int, row: Row) -> dict[str, Any]:
        said = json.dumps(row, default=str)
        return {
            "file": self.path.name, "file_digest": self.content, "row": number, "question": said,
            "version": self.served.version, "digest": self.served.digest, "scored_at": self.now,
        }  # fmt: skip

    def _said(self, found: Found, answer: Said | CannotAnswer) -> dict[str, Any]:
        seen = {"degraded": found.degraded, "missing_features": found.missing}
        if isinstance(answer, CannotAnswer):
            return seen | {"problem": str(answer)}
        words, spec = logged(answer, self.served.classes), self.predictor.spec
        decided = words["answer"] >= spec.threshold if spec.task == "classification" else None
        by_class = words.get("probabilities")
        return seen | {
            "answer": words["answer"],
            "decision": decided,
            "prediction": None if by_class is None else str(words["prediction"]),
            "probabilities": None if by_class is None else json.dumps(by_class),
        }


def _batches(kept: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(kept) as file:
        yield from file.iter_batches()


def _told(spec: ModelSpec, served: Served, path: Path, content: str, new: bool, stores: Stores) -> Scored:
    import pyarrow.compute as pc

    table = stores.tables.dataset(LAYER, spec.name)
    assert table is not None  # noqa: S101 - it was written above
    own = (pc.field("file_digest") == content) & (pc.field("version") == served.version)
    found = table.to_table(
        columns=["problem", "degraded"], filter=own & (pc.field("digest") == served.digest)
    )
    problems = found.num_rows - found["problem"].null_count
    degraded = pc.sum(found["degraded"]).as_py() or 0
    return Scored(
        spec.name, served.version, path.name, found.num_rows, found.num_rows - problems, degraded, new,
        stores.tables.uri(LAYER, spec.name),
    )  # fmt: skip
