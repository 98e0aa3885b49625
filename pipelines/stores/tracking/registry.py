"""MLflow as this project uses it: runs, registered versions, aliases, and models loaded safely."""

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.contracts import EvergreenError, TransientError
from pipelines.settings import Settings
from pipelines.stores.audit.keys import Keys
from pipelines.stores.audit.licences import ORIGIN, Licence, licence_of, verify_origin
from pipelines.stores.audit.permits import Permit, permit_of
from pipelines.stores.erasures import Erasures
from pipelines.stores.tracking import artifacts, background, long_values
from pipelines.stores.tracking.model_files import MODEL_FILE as MODEL_FILE
from pipelines.stores.tracking.model_files import built, verified
from pipelines.stores.tracking.model_files import file_digest as file_digest
from pipelines.stores.tracking.model_files import trusted_types as trusted_types
from pipelines.stores.tracking.records import Client, Kept, Records, Run, no_version

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.tracking import MlflowClient

    from pipelines.stores.tracking.database import Database
    from pipelines.stores.tracking.rest import Rest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

CHAMPION, PREVIOUS, ANCHOR, CHALLENGER = "champion", "previous", "anchor", "challenger"
RETIRED = "retired"
"""The tag of a version whose files were deleted; it says when."""
COMPLETE = {"digest", "as_of", ORIGIN}
DESCRIPTION = "MLmodel"
"""MLflow's description of a model: the columns it takes."""


@dataclass(frozen=True)
class Version:
    """A registered version; `digest` is the SHA-256 of its model file."""

    model: str
    version: int
    run_id: str
    digest: str
    as_of: datetime
    source: str
    tags: Mapping[str, str]

    @property
    def views(self) -> dict[str, int]:
        """The version of each feature view it was trained on; it must be asked with these."""
        return dict(json.loads(self.tags.get("feature_views", "{}")))


class Tracking:
    """Runs, versions and aliases of one MLflow. Its `client`, slow to import, is for what `records` cannot do."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self.settings, self.keys = settings, keys

    @cached_property
    def client(self) -> "MlflowClient":
        import logging

        import mlflow
        from mlflow.tracking import MlflowClient

        warnings.filterwarnings(
            "ignore", message=".*noload.*"
        )  # MLflow's word to SQLAlchemy, not ours to mend
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self.settings.home.mkdir(parents=True, exist_ok=True)
        if self.settings.mlflow_login is not None:  # in the address, MLflow's errors would repeat it
            os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = (
                self.settings.mlflow_login
            )
        mlflow.set_tracking_uri(self.settings.mlflow_uri)
        mlflow.set_registry_uri(self.settings.mlflow_uri)
        return MlflowClient(self.settings.mlflow_uri, self.settings.mlflow_uri)

    @cached_property
    def _light(self) -> "Database | Rest | None":
        """The records without MLflow's client, where they are kept in a way known here."""
        address = self.settings.mlflow_uri
        if address.startswith(("http:", "https:")):
            from pipelines.stores.tracking.rest import Rest

            return Rest(address, self.settings.mlflow_login)
        if address.startswith(("sqlite:", "postgresql")):
            from pipelines.stores.tracking.database import Database

            return Database(address)
        return None

    @cached_property
    def _through_client(self) -> Client:
        return Client(lambda: self.client)

    @property
    def records(self) -> Records:
        """MLflow's records, by the shortest way that gives what its client would give."""
        return self._light if self._light is not None and self._light.fits() else self._through_client

    def experiment(self, model: str) -> str:
        """The id of a model's experiment, made if absent."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(model)
        if found is not None:
            return str(found.experiment_id)
        remote = self.settings.mlflow_uri.startswith("http")
        location = None if remote else self.settings.mlflow_artifacts
        artifacts.refuse_without_client(location or "")
        try:
            return str(self.client.create_experiment(model, artifact_location=location))
        except MlflowException:  # another process made it first
            return str(self.client.get_experiment_by_name(model).experiment_id)

    def versions(self, model: str) -> list[Version]:
        """All complete versions, the newest first; one that was not registered whole by a training is none."""
        return [registered(each) for each in self.records.versions(model) if set(each.tags) >= COMPLETE]

    def numbers(self, model: str) -> set[int]:
        """The numbers of all versions that are registered, whoever did it; one deleted in MLflow is none."""
        return {found.version for found in self.records.versions(model)}

    def newest(self, model: str) -> Version | None:
        return next(iter(self.versions(model)), None)

    def version(self, model: str, number: int) -> Version:
        """A version by its number; EvergreenError if there is none, or not one that a training registered."""
        found = self.records.version(model, number)
        if found is None:
            raise no_version(model, number)
        return registered(found)

    def that_answered(self, model: str, number: int, digest: str) -> Version:
        """The version that gave an answer; EvergreenError if its number has another file by now."""
        version = self.version(model, number)
        if version.digest != digest:
            raise EvergreenError(
                f"{model} version {number} is another file now than the one that answered; refused"
            )
        return version

    def champion(self, model: str) -> Version | None:
        return self.aliased(model, CHAMPION)

    def champions(self) -> Callable[[str], Version | None]:
        """Every model's champion, read at once; what is wrong with one is raised where that one is looked up."""
        return self._every(CHAMPION)

    def challengers(self) -> Callable[[str], Version | None]:
        """As `champions`, of the versions that are being rolled out."""
        return self._every(CHALLENGER)

    def _every(self, alias: str) -> Callable[[str], Version | None]:
        found = self.records.every(alias)

        def named(model: str) -> Version | None:
            kept = found(model)
            return None if kept is None else registered(kept)

        return named

    def aliased(self, model: str, alias: str) -> Version | None:
        """The version an alias names; None if it names none. EvergreenError if no training registered it."""
        found = self.records.aliased(model, alias)
        return None if found is None else registered(found)

    def named(self, model: str, alias: str) -> int | None:
        """The number of the version an alias names, whoever registered that; None if it names none."""
        found = self.records.aliased(model, alias)
        return None if found is None else found.version

    def run(self, run_id: str) -> Run:
        """What was logged to a run, each value whole; EvergreenError if there is none of this id."""
        return long_values.restored(self.records.run(run_id), lambda: self._whole(run_id))

    def _whole(self, run_id: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            return self.fetched(f"runs:/{run_id}/{long_values.PLACE}", Path(folder)).read_text()

    def log_facts(self, run_id: str, parameters: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Log parameters and tags that `run` gives whole, however long they are."""
        self.keep_whole(run_id, long_values.log(self.client, run_id, parameters, tags))

    def keep_whole(self, run_id: str, whole: "long_values.Whole") -> None:
        """Keep beside a run what was shortened, if anything was."""
        if whole:
            with tempfile.TemporaryDirectory() as folder:
                self.log_files(run_id, long_values.FOLDER, long_values.written(whole, Path(folder)))

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """One write that readers see whole."""
        self.records.set_alias(model, alias, version)

    def drop_alias(self, model: str, alias: str) -> None:
        """The alias names no version any more."""
        self.records.drop_alias(model, alias)

    def tag(self, model: str, version: int, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self.records.tag(model, version, key, value)

    def file(self, version: Version) -> Path:
        """The version's model file on local disk, verified, and fetched if it is elsewhere."""
        self._model_bytes(version)
        return self._folder(version) / MODEL_FILE

    def load(self, model: str, version: int) -> Any:
        """The fitted Pipeline of a version; its signature, digest and types are verified before anything is loaded."""
        return self.fitted(self.version(model, version))

    def fitted(self, version: Version) -> Any:
        """The fitted Pipeline of a version as it was read: these very tags are verified, and no others."""
        verify_origin(version, self.keys)
        return built(self._model_bytes(version), version.digest, version.model)

    def load_licensed(self, model: str, version: int) -> Any:
        """As `load`, for serving: only a version that passed its gate, or that a person let pass."""
        found = self.version(model, version)
        self.licence(found)
        return self.fitted(found)

    def licence(self, version: Version) -> Licence:
        """What lets a version serve; EvergreenError if nothing does, or if it is not what was registered."""
        verify_origin(version, self.keys)
        return licence_of(version.model, version.version, version.tags, self.keys)

    def permit(self, version: Version) -> Permit:
        """What lets a version be asked beside the champion; EvergreenError if nothing does."""
        verify_origin(version, self.keys)
        return permit_of(version.model, version.version, version.tags, self.keys)

    def inputs(self, version: Version) -> list[str]:
        """The columns a version takes, as its signature in MLflow names them."""
        import yaml

        verify_origin(version, self.keys)
        source, digest = f"{version.source}/{DESCRIPTION}", version.tags["mlmodel_digest"]
        said = yaml.safe_load(self._bytes(version, self._folder(version) / DESCRIPTION, source, digest))
        columns = json.loads((said.get("signature") or {}).get("inputs") or "[]")
        return [column.get("name", place) for place, column in enumerate(columns)]

    def load_baseline(self, version: Version) -> Any:
        """The plain pipeline that was fitted beside a version, on the same rows; verified as the version is."""
        verify_origin(version, self.keys)
        digest, path = version.tags["baseline_digest"], self._folder(version) / "baseline" / MODEL_FILE
        source = f"runs:/{version.run_id}/baseline/{MODEL_FILE}"
        return built(self._bytes(version, path, source, digest), digest, version.model)

    def background(self, version: Version) -> "pd.DataFrame":
        """Some of the rows a version was trained on, never to be told; EvergreenError if it was registered without."""
        verify_origin(version, self.keys)
        if background.DIGEST not in version.tags:
            raise background.Without(
                f"{version.model} version {version.version} was registered without background rows; train it again"
            )
        path, digest = self._folder(version) / background.FILE, version.tags[background.DIGEST]
        if Erasures(self.settings).file(digest) is not None:
            raise background.Without(
                f"the background rows of {version.model} version {version.version} went when a person's rows were"
                f" erased; `evergreen train {version.model}` makes a version that has some"
            )
        source = f"runs:/{version.run_id}/{background.FOLDER}/{background.FILE}"
        return background.read(self._bytes(version, path, source, digest))

    def _folder(self, version: Version) -> Path:
        """Where copies of a version's files lie on local disk."""
        return self.settings.home / "models" / version.model / str(version.version)

    def _model_bytes(self, version: Version) -> bytes:
        source = f"{version.source}/{MODEL_FILE}"
        return self._bytes(version, self._folder(version) / MODEL_FILE, source, version.digest)

    def _bytes(self, version: Version, path: Path, source: str, digest: str) -> bytes:
        """The bytes with this digest: from the local copy, or fetched and then kept there.

        What is returned is what was verified. A local copy that was changed is fetched again.
        """
        what = f"{version.model} version {version.version}, {path.name}"
        try:
            return verified(path, digest, what)
        except EvergreenError:
            return self._fetched(path, source, digest, what)

    def _fetched(self, path: Path, source: str, digest: str, what: str) -> bytes:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            try:
                found = self.fetched(source, Path(folder))
            except Exception as error:
                raise TransientError(f"{what} cannot be fetched from {source}: {error}") from error
            data = verified(found, digest, what)
            part = Path(folder) / "verified"
            part.write_bytes(data)
            part.replace(path)
        return data

    def fetched(self, address: str, folder: Path) -> Path:
        """A file of a run (runs:/...) or model (models:/m-...): where it lies here, else a copy in a folder."""
        found = artifacts.here(address, self.records)
        if found is not None and found.is_file() and not found.is_symlink():
            return found
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        self.client  # noqa: B018 - sets MLflow's addresses
        try:
            return Path(download_artifacts(address, dst_path=str(folder)))
        except MlflowException as error:
            raise TransientError(str(error)) from error

    def log_metrics(self, run_id: str, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """The candidate's metrics by their names, the others' with who in front."""
        from mlflow.entities import Metric

        named = {
            (name if who == "candidate" else f"{who}_{name}"): value
            for who, values in metrics.items()
            for name, value in values.items()
        }
        self.client.log_batch(run_id, metrics=[Metric(k, v, 0, 0) for k, v in named.items()])

    def log_files(self, run_id: str, folder: str, *paths: Path) -> None:
        """Keep files with a run, in a folder there; each is seen whole."""
        root = artifacts.local(self.records.run(run_id).artifacts)
        for path in paths:
            if root is None:
                self.client.log_artifact(run_id, str(path), folder)
            else:
                artifacts.put(path, root / folder)


def registered(found: Kept) -> Version:
    """MLflow's version as ours; EvergreenError if it lacks what a training registers it with."""
    tags = dict(found.tags)
    missing = COMPLETE - set(tags)
    try:
        return Version(
            model=found.model,
            version=found.version,
            run_id=found.run_id,
            digest=tags["digest"],
            as_of=datetime.fromisoformat(tags["as_of"]),
            source=found.source,
            tags=tags,
        )
    except (KeyError, ValueError):
        lacks = f"lacks {', '.join(sorted(missing))}" if missing else f"is as of {tags['as_of']!r}"
        raise EvergreenError(
            f"{found.model} version {found.version} was not registered by a training here (it {lacks}); refused. "
            f"Point the alias at a version that was, or train one: `evergreen train {found.model}`"
        ) from None


if __name__ == "__main__":  # makes MLflow's tables before several processes want to make them at once
    from pipelines.settings import settings

    Tracking(settings(), Keys(settings().keys_path)).client.search_experiments(max_results=1)
