"""MLflow as this project uses it: runs, registered versions, aliases, and models loaded safely."""

import hashlib
import importlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.contracts import EvergreenError
from pipelines.settings import Settings
from pipelines.stores.keys import Keys
from pipelines.stores.licences import Licence, licence_of, verify_origin

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

CHAMPION, PREVIOUS, ANCHOR = "champion", "previous", "anchor"
MODEL_FILE = "model.skops"
# Reviewed: each of these only holds numbers or trees. skops trusts scikit-learn's own estimators by itself.
# A partial is trusted because skops asks for the function in it by name as well; ours holds check_array.
TRUSTED = (
    "functools.partial",
    "numpy.dtype",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
)


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


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def trusted_types(model: str) -> list[str]:
    """The allow-list of a model: the reviewed types and the classes its own estimator.py defines."""
    module = f"pipelines.models.{model}.estimator"
    own = vars(importlib.import_module(module)).values()
    names = [f"{module}.{o.__name__}" for o in own if isinstance(o, type) and o.__module__ == module]
    return [*TRUSTED, *names]


@lru_cache(maxsize=8)
def _load_verified(path: str, digest: str, model: str) -> Any:
    from skops.io import get_untrusted_types, load

    found = file_digest(Path(path))
    if found != digest:
        raise EvergreenError(
            f"{model}: the model file's digest is {found[:12]}, registered was {digest[:12]}; "
            "it was changed after training and is refused"
        )
    foreign = sorted(set(get_untrusted_types(file=path)) - set(trusted_types(model)))
    if foreign:
        raise EvergreenError(f"{model}: the model file holds types nobody reviewed: {', '.join(foreign)}")
    return load(path, trusted=trusted_types(model))


class Tracking:
    """Runs, versions and aliases of one MLflow."""

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
        mlflow.set_tracking_uri(self.settings.mlflow_uri)
        mlflow.set_registry_uri(self.settings.mlflow_uri)
        return MlflowClient(self.settings.mlflow_uri, self.settings.mlflow_uri)

    def experiment(self, model: str) -> str:
        """The id of a model's experiment, made if absent."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(model)
        if found is not None:
            return str(found.experiment_id)
        remote = self.settings.mlflow_uri.startswith("http")
        location = None if remote else self.settings.mlflow_artifacts
        try:
            return str(self.client.create_experiment(model, artifact_location=location))
        except MlflowException:  # another process made it first
            return str(self.client.get_experiment_by_name(model).experiment_id)

    def versions(self, model: str) -> list[Version]:
        """All complete versions, the newest first."""
        found = self.client.search_model_versions(f"name = '{model}'")
        complete = [v for v in found if "digest" in v.tags and "as_of" in v.tags]
        return sorted((_version(v) for v in complete), key=lambda v: v.version, reverse=True)

    def newest(self, model: str) -> Version | None:
        return next(iter(self.versions(model)), None)

    def version(self, model: str, number: int) -> Version:
        for found in self.versions(model):
            if found.version == number:
                return found
        raise EvergreenError(f"{model} has no version {number}; `evergreen train {model}` makes one")

    def champion(self, model: str) -> Version | None:
        return self.aliased(model, CHAMPION)

    def aliased(self, model: str, alias: str) -> Version | None:
        """The version an alias names; None if it names none."""
        from mlflow.exceptions import MlflowException

        try:
            return _version(self.client.get_model_version_by_alias(model, alias))
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """One write that readers see whole."""
        self.client.set_registered_model_alias(model, alias, str(version))

    def tag(self, model: str, version: int, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self.client.set_model_version_tag(model, str(version), key, value)

    def file(self, version: Version) -> Path:
        """The version's model file on local disk, fetched if it is elsewhere."""
        from mlflow.artifacts import download_artifacts

        self.client  # noqa: B018 - sets MLflow's addresses
        target = self.settings.home / "models" / version.model / str(version.version)
        path = target / MODEL_FILE
        if not path.exists() or file_digest(path) != version.digest:
            target.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target) as folder:
                found = download_artifacts(f"{version.source}/{MODEL_FILE}", dst_path=folder)
                Path(found).replace(path)
        return path

    def load(self, model: str, version: int) -> Any:
        """The fitted Pipeline of a version; its signature, digest and types are verified before anything is loaded."""
        found = self.version(model, version)
        verify_origin(model, version, found.tags, self.keys)
        return _load_verified(str(self.file(found)), found.digest, model)

    def load_licensed(self, model: str, version: int) -> Any:
        """As `load`, for serving: only a version that passed its gate, or that a person let pass."""
        self.licence(self.version(model, version))
        return self.load(model, version)

    def licence(self, version: Version) -> Licence:
        """What lets a version serve; EvergreenError if nothing does."""
        return licence_of(version.model, version.version, version.tags, self.keys)

    def inputs(self, version: Version) -> list[str]:
        """The columns a version takes, as its signature in MLflow names them."""
        from mlflow.artifacts import download_artifacts
        from mlflow.models import Model

        self.client  # noqa: B018 - sets MLflow's addresses
        with tempfile.TemporaryDirectory() as folder:
            signature = Model.load(download_artifacts(f"{version.source}/MLmodel", dst_path=folder)).signature
        return list(signature.inputs.input_names()) if signature else []

    def load_baseline(self, version: Version) -> Any:
        """The plain pipeline that was fitted beside a version, on the same rows."""
        verify_origin(version.model, version.version, version.tags, self.keys)
        digest = version.tags["baseline_digest"]
        target = self.settings.home / "models" / version.model / str(version.version) / "baseline"
        path = target / MODEL_FILE
        if not path.exists():
            target.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target) as folder:
                found = self.client.download_artifacts(version.run_id, f"baseline/{MODEL_FILE}", folder)
                Path(found).replace(path)
        return _load_verified(str(path), digest, version.model)

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
        for path in paths:
            self.client.log_artifact(run_id, str(path), folder)


def _version(found: Any) -> Version:
    tags = dict(found.tags)
    return Version(
        model=found.name,
        version=int(found.version),
        run_id=found.run_id,
        digest=tags["digest"],
        as_of=datetime.fromisoformat(tags["as_of"]),
        source=found.source,
        tags=tags,
    )


if __name__ == "__main__":  # makes MLflow's tables before several processes want to make them at once
    from pipelines.settings import settings

    Tracking(settings(), Keys(settings().keys_path)).client.search_experiments(max_results=1)
