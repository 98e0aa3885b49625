"""Retirement: old versions lose model files and the rows they learned from; record, card and log entries stay."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.promotion import champions
from pipelines.promotion.promote import OVERRIDDEN
from pipelines.stores import Stores
from pipelines.stores.audit.licences import LICENCE
from pipelines.stores.tracking.background import DIGEST, FOLDER
from pipelines.stores.tracking.registry import ANCHOR, CHALLENGER, CHAMPION, PREVIOUS, RETIRED, Version
from pipelines.training.training_set import path_of

RETIRE = "retire"
TRAINING_SET = "training_set"
GOING = (".skops", ".onnx", ".parquet")
"""How the names of files end that can serve, or hold rows that were trained on."""


@dataclass(frozen=True)
class Logged:
    """A file in an artifact store of MLflow."""

    store: Any
    path: str
    size: int


@dataclass(frozen=True)
class Retirement:
    """What was retired, or would be, and what is kept and why."""

    model: str
    retired: list[int]
    kept: dict[int, str]
    files: int
    bytes: int
    dry_run: bool


def retire(spec: ModelSpec, stores: Stores, now: datetime, dry_run: bool = False) -> Retirement:
    """Retire every version that neither serving, a rollback, the gate nor a person may need. Cut off, do it again."""
    with champions.turn(spec.name, stores, now):
        versions = stores.tracking.versions(spec.name)
        kept = _kept(spec, versions, stores)
        old = [version for version in versions if version.version not in kept]
        files = [*_copies(old, stores), *_training_sets(spec, old, kept, versions, stores)]
        logged = [each for version in old for each in _logged(version, stores)]
        size = sum(path.stat().st_size for path in files) + sum(each.size for each in logged)
        if not dry_run:
            _delete(old, files, logged, stores, now)
    new = [version.version for version in old if RETIRED not in version.tags]
    return Retirement(spec.name, new, kept, len(files) + len(logged), size, dry_run)


def _delete(
    old: list[Version], files: list[Path], logged: list[Logged], stores: Stores, now: datetime
) -> None:
    for version in old:
        _tell(version, stores, now)
    for path in files:
        stores.files.remove(path)
    for each in logged:
        each.store.delete_artifacts(each.path)


def _kept(spec: ModelSpec, versions: list[Version], stores: Stores) -> dict[int, str]:
    """Versions that stay, each with the reason. Of those retired before, none counts among the newest."""
    there = [version for version in versions if RETIRED not in version.tags]
    kept = {
        version.version: f"one of the newest {spec.promotion.keep}"
        for version in there[: spec.promotion.keep]
    }
    kept |= {version.version: "overridden" for version in there if _overridden(version, stores)}
    kept |= dict.fromkeys(champions.line(spec.name, stores)[-3:], "what a second rollback goes to")
    for alias in (ANCHOR, PREVIOUS, CHALLENGER, CHAMPION):
        number = stores.tracking.named(spec.name, alias)
        kept |= {number: alias} if number is not None else {}
    return dict(sorted(kept.items()))


def _overridden(version: Version, stores: Stores) -> bool:
    """Whether a person let it serve; one whose licence cannot be read is left alone as well."""
    if LICENCE not in version.tags:
        return False
    try:
        return stores.tracking.licence(version).decision == OVERRIDDEN
    except Exception:
        return True


def _copies(old: Iterable[Version], stores: Stores) -> list[Path]:
    """Our own copies of models, baselines and background rows on this machine."""
    folders = (stores.settings.home / "models" / each.model / str(each.version) for each in old)
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def _logged(version: Version, stores: Stores) -> list[Logged]:
    """The files of a version's model, baseline and background rows where MLflow keeps them."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    stores.tracking.client  # noqa: B018 - sets MLflow's addresses
    found = []
    folders = ("baseline", *([FOLDER] if DIGEST in version.tags else []))
    for uri in (version.source, *(f"runs:/{version.run_id}/{folder}" for folder in folders)):
        kept = get_artifact_repository(uri)
        files = (each for each in kept.list_artifacts() if not each.is_dir)
        found += [Logged(kept, each.path, each.file_size or 0) for each in files if each.path.endswith(GOING)]
    return found


def _training_sets(
    spec: ModelSpec, old: Iterable[Version], kept: Iterable[int], versions: Iterable[Version], stores: Stores
) -> list[Path]:
    """Training sets of retired versions that no other version was made from."""
    staying = set(kept)
    needed = {version.tags.get(TRAINING_SET) for version in versions if version.version in staying}
    gone = {version.tags.get(TRAINING_SET, "") for version in old} - needed
    paths = (path_of(spec.name, digest, stores) for digest in sorted(gone) if digest)
    return [path for path in paths if path.exists()]


def _tell(version: Version, stores: Stores, now: datetime) -> None:
    """First the tag, which no promotion passes, then the log; the files go last."""
    if RETIRED not in version.tags:
        stores.tracking.tag(version.model, version.version, {RETIRED: now.isoformat()})
    subject = f"model:{version.model}@{version.version}"
    said = {"digest": version.digest, "training_set": version.tags.get(TRAINING_SET)}
    stores.audit.append(
        now, stores.who, RETIRE, subject, "older than the versions that are kept", said, f"retire:{subject}"
    )
