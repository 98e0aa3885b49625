"""A candidate made a second time from its record: its rows joined from the tables again, its model fitted again.

It is made once per question, by a step of its own beside the training, and kept with this deployment's signature. The
gate and the notary each hold the record against it; where none is kept, each makes it for itself.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError, TrainingSet
from pipelines.stores import Stores
from pipelines.stores.read_only import read_only
from pipelines.stores.tracking.registry import Version, file_digest
from pipelines.training import training_set
from pipelines.training.answers import NOT_INPUT, answered, as_column, digest_of, from_column
from pipelines.training.checkout import code, environment, fit_threads
from pipelines.training.differences import erased, lost
from pipelines.training.train import estimator, limited, renewed

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

MARK = b"evergreen"
"""Under this key a kept file says of itself what it is."""


@dataclass(frozen=True)
class Question:
    """What a model is made from: `tables` are Delta versions, `names` its features in their order."""

    model: str
    spec_digest: str
    as_of: datetime
    tables: Mapping[str, int]
    views: Mapping[str, int]
    names: tuple[str, ...]
    parameters: Mapping[str, Any]
    threads: int

    @property
    def key(self) -> str:
        """The digest of the question, asked of this code with these libraries."""
        at = self.as_of.astimezone(UTC).isoformat()
        plain = asdict(self) | {"as_of": at, "code": code(), "environment": environment()}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Rebuild:
    """What came out: the digest of the rows' file, and the model's answers to the held-out rows in their order."""

    rows: str
    answers: "NDArray[Any]"


def planned(spec: ModelSpec, rows: TrainingSet, stores: Stores) -> Question:
    """What a training on these rows asks, before it is done."""
    names = tuple(stores.features.feature_names(spec))
    return Question(
        spec.name, spec.digest, rows.as_of, rows.versions, rows.views, names, spec.parameters, fit_threads(spec, stores)
    )  # fmt: skip


def recorded(spec: ModelSpec, version: Version, stores: Stores) -> Question:
    """What a version's record says that it was made from."""
    tags = record(version, stores)
    names = tuple(spec.features_among(stores.tracking.inputs(version)))
    used = int(json.loads(tags.get("made_with", "{}")).get("threads", 1))
    tables, parameters = (dict(json.loads(tags[name])) for name in ("delta_versions", "parameters"))
    return Question(
        version.model, tags["spec_digest"], version.as_of, tables, version.views, names, parameters, used
    )


def record(version: Version, stores: Stores) -> dict[str, str]:
    """The signed tags of a version, and its run's; EvergreenError if the two do not belong together."""
    tags = {**stores.tracking.run(version.run_id).tags, **version.tags}
    wanted = ("delta_versions", "parameters", "answers_digest", "training_rows")
    missing = [name for name in wanted if name not in tags]
    if missing:
        raise EvergreenError(
            f"{version.model}@{version.version} has no record of {', '.join(missing)}, so it cannot be made again; "
            f"`evergreen train {version.model} --as-of {version.as_of.isoformat()}` makes a version that has"
        )
    tables = dict(json.loads(tags["delta_versions"]))
    if training_set.question(tags["spec_digest"], version.as_of, tables) != version.tags["training_set"]:
        raise EvergreenError(
            f"the Delta versions on run {version.run_id} are not those {version.model}@{version.version} was "
            "signed for: somebody changed the run's tags; restore MLflow's database from a backup"
        )
    return tags


def rebuilt(spec: ModelSpec, version: Version, stores: Stores) -> Rebuild:
    """What a version's record makes: as it was kept, else made now and not kept."""
    asked = recorded(spec, version, stores)
    return kept(asked, stores) or make(asked, spec, stores)


def keep(asked: Question, spec: ModelSpec, stores: Stores) -> Rebuild:
    """Make it, unless it is kept, and keep it under this deployment's signature."""
    found = kept(asked, stores)
    if found is None:
        found = make(asked, spec, stores)
        _write(asked, found, stores)
    return found


def kept(asked: Question, stores: Stores) -> Rebuild | None:
    """What was kept of a question; None if nothing is, or if it is not as this deployment signed it."""
    import pyarrow.parquet as pq

    path = path_of(asked, stores)
    try:
        table = pq.read_table(path)
        said = json.loads((table.schema.metadata or {})[MARK])
        found = Rebuild(said["rows"], from_column(table["answers"].to_numpy()))
    except (OSError, ValueError, KeyError):
        return None
    return found if stores.keys.verifies(_statement(asked, found), said["signature"]) else None


def path_of(asked: Question, stores: Stores) -> Path:
    """Where the answer to a question is kept."""
    path = stores.settings.home / "rebuilds" / asked.model / f"{asked.key}.parquet"
    return stores.files.fetch(path, fixed=True)


def make(asked: Question, spec: ModelSpec, stores: Stores) -> Rebuild:
    """Rows joined and model fitted now; nothing is written."""
    with tempfile.TemporaryDirectory() as folder:
        made = rows(asked, spec, stores, Path(folder))
        model, held = fitted(asked, spec, made.frame)
        return Rebuild(made.digest, answered(model, held, spec.outputs))


@dataclass(frozen=True)
class Rows:
    """A training set that was joined again, as training reads it, and the digest of its file."""

    frame: "pd.DataFrame"
    digest: str


def rows(asked: Question, spec: ModelSpec, stores: Stores, folder: Path) -> Rows:
    """The training set, asked again of the same tables; `folder` takes what is made on the way."""
    import pandas as pd

    _readable(asked, stores)
    scratch, label = read_only(stores, folder), f"silver/{spec.label.dataset}"
    if label not in asked.tables:
        raise EvergreenError(
            f"the labels of {asked.model} as of {asked.as_of.isoformat()} were not from {spec.label.dataset}, but that "
            "is what this checkout's spec.yaml names; check out the commit it was made at"
        )
    labels = training_set.labels(spec, asked.as_of, scratch, asked.tables[label])
    prefix, path = "features/", folder / "rows.parquet"
    tables = {n.removeprefix(prefix): v for n, v in asked.tables.items() if n.startswith(prefix)}
    scratch.features.historical(asked.names, labels, asked.views, tables).to_parquet(path, index=False)
    return Rows(pd.read_parquet(path), file_digest(path))


def fitted(asked: Question, spec: ModelSpec, frame: "pd.DataFrame") -> "tuple[Any, pd.DataFrame]":
    """The model fitted again as the question says, and the held-out rows."""
    train, held = (frame[frame["split"] == part].reset_index(drop=True) for part in ("train", "holdout"))
    renewed(spec)
    model = estimator(spec.model_copy(update={"parameters": dict(asked.parameters)}))
    with limited(asked.threads):  # after the libraries are loaded: it does not reach those that come later
        model.fit(train.drop(columns=list(NOT_INPUT)), train["label"])
    return model, held


def _readable(asked: Question, stores: Stores) -> None:
    gone = lost(dict(asked.tables), stores)
    if gone:
        remedy = (
            f"it cannot be made again, by anybody: `evergreen train {asked.model}` makes one of what is left"
            if erased(asked.tables, stores)
            else "restore the lake from a backup"
        )
        raise EvergreenError(
            f"the rows of {asked.model} as of {asked.as_of.isoformat()} cannot be read again: {'; '.join(gone)};"
            f" {remedy}"
        )


def _write(asked: Question, found: Rebuild, stores: Stores) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    said = {"rows": found.rows, "signature": stores.keys.sign(_statement(asked, found))}
    table = pa.table({"answers": as_column(found.answers)}).replace_schema_metadata({MARK: json.dumps(said)})
    with stores.files.whole(path_of(asked, stores)) as part:
        pq.write_table(table, part)


def _statement(asked: Question, found: Rebuild) -> bytes:
    return json.dumps(["rebuild", asked.model, asked.key, found.rows, digest_of(found.answers)]).encode()
