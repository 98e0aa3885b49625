"""Makes a version again from its record, in this checkout, and holds the second against the first."""

import json
import tempfile
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.stores import Stores
from pipelines.stores.audit.licences import verify_origin
from pipelines.stores.contents import contents_digest
from pipelines.stores.tracking.registry import MODEL_FILE, Version, file_digest
from pipelines.training import rebuild, training_set
from pipelines.training.answers import answered, apart, digest_of
from pipelines.training.differences import Difference, differences, told

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


def reproduce(
    spec: ModelSpec, version: int, stores: Stores, now: datetime, anyway: bool = False
) -> Reproduction:
    """A version made again from its record alone; nothing is written but an entry in the audit log.

    A checkout whose files of the model are others is refused, unless `anyway`: then they are tried.
    """
    found = stores.tracking.version(spec.name, version)
    verify_origin(found, stores.keys)
    tags = rebuild.record(found, stores)
    differ = differences(spec, found.run_id, json.loads(tags["parameters"]), tags, stores)
    if not anyway:
        _same_model(spec, found, differ)
    answer = replace(made_again(spec, found, stores), differences=tuple(differ))
    _say(answer, stores, now)
    return answer


def made_again(spec: ModelSpec, version: Version, stores: Stores) -> Reproduction:
    """A version's rows and model, made again in this checkout and held against what is recorded; writes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        return _made_again(spec, version, stores, Path(folder))


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


def _made_again(spec: ModelSpec, version: Version, stores: Stores, folder: Path) -> Reproduction:
    asked = rebuild.recorded(spec, version, stores)
    rows = rebuild.rows(asked, spec, stores, folder)
    model, held = rebuild.fitted(asked, spec, rows.frame)
    return Reproduction(
        model=version.model,
        version=version.version,
        as_of=version.as_of,
        rows=len(rows.frame) - len(held),
        held=len(held),
        differences=(),
        compared=(
            _compared_rows(version, rows, stores),
            _compared_answers(version, answered(model, held, spec.outputs), held, stores),
            _compared_files(version, model, folder, stores),
        ),
    )


def _compared_rows(version: Version, rows: rebuild.Rows, stores: Stores) -> Compared:
    """The rows as they were joined again, held against the digest of those that were learned from."""
    wanted = version.tags["training_rows"]
    path = training_set.path_of(version.model, version.tags["training_set"], stores)
    how = "" if rows.digest == wanted else _moved(path, wanted, rows.frame)
    return Compared("training set", wanted, rows.digest, how)


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


def _compared_answers(version: Version, said: Any, held: "pd.DataFrame", stores: Stores) -> Compared:
    """Answers to the held-out rows, held against the digest of those at registration."""
    wanted, made = version.tags["answers_digest"], digest_of(said)
    return Compared("answers", wanted, made, "" if made == wanted else _apart(version, said, held, stores))


def _apart(version: Version, said: Any, held: "pd.DataFrame", stores: Stores) -> str:
    """How far the answers are from those of the version's own model file."""
    try:
        outputs = said.shape[1] if said.ndim > 1 else 1
        before = answered(stores.tracking.load(version.model, version.version), held, outputs)
    except EvergreenError as error:
        return f"how far they are apart cannot be told: {error}"
    gaps = apart(said, before)
    return f"{int((gaps > 0).sum()):,} of {len(gaps):,} rows answered otherwise, by up to {told(float(gaps.max()))}"


def _compared_files(version: Version, model: Any, folder: Path, stores: Stores) -> Compared:
    """The model files, but for the addresses in memory and the times that each writing leaves in them."""
    from skops.io import dump

    made = folder / MODEL_FILE
    dump(model, made)
    (folder / "original").mkdir()
    try:
        file = stores.tracking.fetched(f"{version.source}/{MODEL_FILE}", folder / "original")
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
