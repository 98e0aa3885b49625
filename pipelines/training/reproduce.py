"""Makes a version again from its record, in this checkout, and holds the second against the first."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.stores import Stores
from pipelines.stores.audit.licences import verify_origin
from pipelines.stores.contents import contents_digest
from pipelines.stores.read_only import read_only
from pipelines.stores.tracking.registry import MODEL_FILE, Version, file_digest
from pipelines.training import training_set
from pipelines.training.answers import NOT_INPUT, answered, digest_of
from pipelines.training.differences import Difference, differences, lost, told
from pipelines.training.train import estimator, limited, renewed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Compared:
    """One thing that was made again: its digest as recorded, as it came out now, and how they differ."""

    what: str
    recorded: str
    made: str
    how: str = ""

    @property
    def equal(self) -> bool:
        return self.recorded == self.made


@dataclass(frozen=True)
class Reproduction:
    """What became of making a version again. It is reproduced when everything that was compared is equal."""

    model: str
    version: int
    as_of: datetime
    rows: int
    held: int
    differences: tuple[Difference, ...]
    compared: tuple[Compared, ...] = field(default=())

    @property
    def reproduced(self) -> bool:
        return bool(self.compared) and all(each.equal for each in self.compared)


@dataclass(frozen=True)
class Record:
    """What a version's record says it was made from."""

    version: Version
    parameters: dict[str, Any]
    tables: dict[str, int]
    tags: Mapping[str, str]

    @property
    def threads(self) -> int:
        return int(json.loads(self.tags.get("made_with", "{}")).get("threads", 1))


def reproduce(
    spec: ModelSpec, version: int, stores: Stores, now: datetime, anyway: bool = False
) -> Reproduction:
    """A version made again from its record alone; nothing is written but an entry in the audit log.

    A checkout whose files of the model are others is refused, unless `anyway`: then they are tried.
    """
    found = stores.tracking.version(spec.name, version)
    verify_origin(found, stores.keys)
    record = recorded(found, stores)
    differ = differences(spec, found.run_id, record.parameters, record.tags, stores)
    if not anyway:
        _same_model(spec, found, differ)
    answer = replace(made_again(spec, found, stores), differences=tuple(differ))
    _say(answer, stores, now)
    return answer


def made_again(spec: ModelSpec, version: Version, stores: Stores) -> Reproduction:
    """A version's rows and model, made again in this checkout and held against what is recorded; writes nothing."""
    record = recorded(version, stores)
    _readable(record, stores)
    with tempfile.TemporaryDirectory() as folder:
        return _made_again(spec, record, stores, Path(folder))


def recorded(version: Version, stores: Stores) -> Record:
    """The record of a version: signed tags, and its run's; EvergreenError if the two do not belong together."""
    tags = {**stores.tracking.client.get_run(version.run_id).data.tags, **version.tags}
    missing = [
        name
        for name in ("delta_versions", "parameters", "answers_digest", "training_rows")
        if name not in tags
    ]
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
    return Record(version, dict(json.loads(tags["parameters"])), tables, tags)


def _same_model(spec: ModelSpec, version: Version, differ: list[Difference]) -> None:
    changed = [each.how for each in differ if each.decisive]
    if not changed:
        return
    commit = next((each.recorded for each in differ if each.name == "commit"), "its commit")
    raise EvergreenError(
        f"this checkout's {spec.name} is not the one version {version.version} was made with: "
        f"{'; '.join(changed)}; check out {commit} elsewhere (git worktree add) and run it there with EVERGREEN_HOME "
        "set to this home, or try what is here with --anyway"
    )


def _readable(record: Record, stores: Stores) -> None:
    gone = lost(record.tables, stores)
    if gone:
        raise EvergreenError(
            f"the rows of {record.version.model}@{record.version.version} cannot be read again: {'; '.join(gone)}; "
            "restore the lake from a backup"
        )


def _made_again(spec: ModelSpec, record: Record, stores: Stores, folder: Path) -> Reproduction:
    import pandas as pd

    scratch = read_only(stores, folder)
    path = folder / "rows.parquet"
    _rows(spec, record, scratch).to_parquet(path, index=False)
    rows = pd.read_parquet(path)  # as training does
    same_rows = _compared_rows(record, rows, file_digest(path), stores)
    train, held = (rows[rows["split"] == part].reset_index(drop=True) for part in ("train", "holdout"))
    renewed(spec)
    model = estimator(spec.model_copy(update={"parameters": record.parameters}))
    with limited(record.threads):  # after the libraries are loaded: it does not reach those that come later
        model.fit(train.drop(columns=list(NOT_INPUT)), train["label"])
    version = record.version
    return Reproduction(
        model=version.model,
        version=version.version,
        as_of=version.as_of,
        rows=len(train),
        held=len(held),
        differences=(),
        compared=(
            same_rows,
            _compared_answers(record, model, held, scratch),
            _compared_files(record, model, folder),
        ),
    )


def _rows(spec: ModelSpec, record: Record, scratch: Stores) -> "pd.DataFrame":
    """The training set, asked again of the same tables with the columns that the version takes."""
    version, label = record.version, f"silver/{spec.label.dataset}"
    if label not in record.tables:
        raise EvergreenError(
            f"the labels of {version.model}@{version.version} were not from {spec.label.dataset}, but that is what "
            "this checkout's spec.yaml names; check out the commit it was made at"
        )
    labels = training_set.labels(spec, version.as_of, scratch, record.tables[label])
    names = spec.features_among(scratch.tracking.inputs(version))
    prefix = "features/"
    tables = {n.removeprefix(prefix): v for n, v in record.tables.items() if n.startswith(prefix)}
    return scratch.features.historical(names, labels, version.views, tables)


def _compared_rows(record: Record, rows: "pd.DataFrame", made: str, stores: Stores) -> Compared:
    wanted, version = record.version.tags["training_rows"], record.version
    path = training_set.path_of(version.model, version.tags["training_set"], stores)
    how = "" if made == wanted else _moved(path, wanted, rows)
    return Compared("training set", wanted, made, how)


def _moved(path: Path, digest: str, rows: "pd.DataFrame") -> str:
    """How rows differ from those in a file, if it is still there and what it was."""
    import pandas as pd

    if not path.exists() or file_digest(path) != digest:
        return "the rows the version was trained on are no longer there to compare with"
    before = pd.read_parquet(path)
    if len(before) != len(rows):
        return f"{len(rows):,} rows, {len(before):,} when it was trained"
    was, now = (list(map(str, found)) for found in (before, rows))
    if was != now:
        return f"other columns: {', '.join(sorted({*was} ^ {*now})) or 'in another order'}"
    moved = [name for name in was if not before[name].equals(rows[name])]
    return f"other values in {', '.join(moved)}" if moved else "the same values, written as other bytes"


def _compared_answers(record: Record, model: Any, held: "pd.DataFrame", scratch: Stores) -> Compared:
    said = answered(model, held)
    wanted, made = record.version.tags["answers_digest"], digest_of(said)
    return Compared(
        "answers", wanted, made, "" if made == wanted else _apart(record.version, said, held, scratch)
    )


def _apart(version: Version, said: Any, held: "pd.DataFrame", scratch: Stores) -> str:
    """How far the answers are from those of the version's own model file."""
    try:
        before = answered(scratch.tracking.load(version.model, version.version), held)
    except EvergreenError as error:
        return f"how far they are apart cannot be told: {error}"
    gaps = abs(said - before)
    return f"{int((gaps > 0).sum()):,} of {len(gaps):,} rows answered otherwise, by up to {told(float(gaps.max()))}"


def _compared_files(record: Record, model: Any, folder: Path) -> Compared:
    """The model files, but for the addresses in memory and the times that each writing leaves in them."""
    from mlflow.artifacts import download_artifacts
    from skops.io import dump

    made, version = folder / MODEL_FILE, record.version
    dump(model, made)
    (folder / "original").mkdir()
    try:
        file = Path(download_artifacts(f"{version.source}/{MODEL_FILE}", dst_path=str(folder / "original")))
        wanted = contents_digest(file) if file_digest(file) == version.digest else "changed after training"
    except (OSError, EvergreenError) as error:
        return Compared("model", "no longer there", contents_digest(made), str(error))
    return Compared("model", wanted, contents_digest(made))


def _say(answer: Reproduction, stores: Stores, now: datetime) -> None:
    """The audit log knows who made it again, and what came out."""
    stores.audit.append(
        now,
        stores.who,
        "reproduce",
        f"model:{answer.model}@{answer.version}",
        why="reproduced" if answer.reproduced else "came out otherwise",
        evidence={
            "differences": [each.name for each in answer.differences],
            **{each.what: {"recorded": each.recorded, "made": each.made} for each in answer.compared},
        },
    )
