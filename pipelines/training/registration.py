"""Writes a training into its MLflow run, and registers its model as a version that says all of it."""

import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import TrainingSet
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.audit.licences import origin
from pipelines.stores.tracking.model_files import loadable
from pipelines.stores.tracking.registry import DESCRIPTION, MODEL_FILE, Version, file_digest, trusted_types
from pipelines.training import background, onnx
from pipelines.training.checkout import commit, environment, lock, made_with, uncommitted

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models.model import ModelInfo

RECORD, CODE = "record.json", "training/code"
LONGEST = 2000
"""Characters of a tag."""


def register(
    spec: ModelSpec,
    training_set: TrainingSet,
    stores: Stores,
    facts: dict[str, str],
    record: Mapping[str, Any],
    fitted: tuple[Any, Any],
    inputs: "pd.DataFrame",
    rows: "pd.DataFrame",
) -> Version:
    """Log the run and register its model; the version counts once its tags are complete."""
    loadable(fitted[0], spec.name)
    client = stores.tracking.client
    run = client.create_run(
        stores.tracking.experiment(spec.name), run_name=f"as of {training_set.as_of:%Y-%m-%d %H:%M}"
    )
    run_id = run.info.run_id
    _log_facts(spec, training_set, stores, run_id, facts, rows)
    _log_record(stores, run_id, record)
    _log_code(spec, stores, run_id)
    logged, digests = _log_model(spec, stores, run_id, fitted[0], inputs)
    made = facts | digests | {"baseline_digest": _log_baseline(stores, run_id, fitted[1])}
    made |= onnx.log(spec, stores, run_id, fitted[0], inputs)
    made |= background.log(stores, run_id, fitted[0], inputs, training_set.digest)
    client.set_terminated(run_id)
    version = _new_version(spec, stores, run_id, logged, made)
    events.registered(version, stores)
    return version


def _log_record(stores: Stores, run_id: str, record: Mapping[str, Any]) -> None:
    """Why this training ran and every batch that was new to it, as JSON."""
    if not record:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / RECORD
        path.write_text(json.dumps(record, indent=2))
        stores.tracking.log_files(run_id, "training", path)


def _log_code(spec: ModelSpec, stores: Stores, run_id: str) -> None:
    """The files whose digest is `spec_digest`, to be read when a later checkout has others; never run from there."""
    for path in spec.files:
        folder = path.parent.relative_to(spec.folder).as_posix()
        stores.tracking.log_files(run_id, f"{CODE}/{folder}".removesuffix("/."), path)


def _new_version(
    spec: ModelSpec, stores: Stores, run_id: str, logged: "ModelInfo", tags: dict[str, str]
) -> Version:
    from mlflow.exceptions import MlflowException

    client = stores.tracking.client
    try:
        client.create_registered_model(spec.name, description=spec.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = logged.artifact_path
    # A server that hands artifacts through takes a source outside of the run's folder for that of its model only.
    made = client.create_model_version(spec.name, source, run_id, tags=tags, model_id=logged.model_id)
    version = int(made.version)
    # The signature speaks for the number too, which is known only now; a version without one counts for nothing.
    unsigned = Version(
        spec.name, version, run_id, tags["digest"], datetime.fromisoformat(tags["as_of"]), source, tags
    )
    stores.tracking.tag(spec.name, version, origin(unsigned, stores.keys))
    return stores.tracking.version(spec.name, version)


def _log_facts(
    spec: ModelSpec,
    training_set: TrainingSet,
    stores: Stores,
    run_id: str,
    facts: dict[str, str],
    rows: "pd.DataFrame",
) -> None:
    """Parameters, tags and the dataset with its Delta versions."""
    import mlflow.data
    from mlflow.entities import DatasetInput, InputTag, Metric

    client = stores.tracking.client
    tags = {
        **facts,
        "delta_versions": json.dumps(training_set.versions, sort_keys=True),
        "lock_digest": environment(),
        "made_with": json.dumps(made_with(spec, stores), sort_keys=True),
        "uncommitted": ", ".join(uncommitted()),
        "git_commit": commit(),
        "mlflow.source.git.commit": commit(),
    }
    counts: dict[str, float] = {"rows_train": training_set.rows, "rows_holdout": training_set.holdout_rows}
    if training_set.positives is not None:
        counts["positive_share"] = training_set.positives / training_set.rows
    stores.tracking.log_facts(run_id, {name: str(value) for name, value in spec.parameters.items()}, tags)
    client.log_batch(run_id, metrics=[Metric(k, float(v), 0, 0) for k, v in counts.items()])
    with warnings.catch_warnings():
        # MLflow has two names for a local file, and hints at whole numbers, each time.
        warnings.simplefilter("ignore")
        dataset = mlflow.data.from_pandas(
            rows.head(100),
            source=training_set.path,
            name=f"{spec.name}_training",
            targets="label",
            digest=training_set.digest[:32],
        )
        entity = dataset._to_mlflow_entity()
    client.log_inputs(run_id, [DatasetInput(entity, [InputTag("context", "training")])])


def _log_model(
    spec: ModelSpec, stores: Stores, run_id: str, model: Any, inputs: "pd.DataFrame"
) -> tuple["ModelInfo", dict[str, str]]:
    """Log the Pipeline as skops with signature and example; what MLflow made of it, and the digests of its files."""
    import mlflow.sklearn
    from mlflow.artifacts import download_artifacts

    ask = "predict_proba" if spec.task == "classification" else "predict"
    example, signature = _signature(inputs, getattr(model, ask))
    with mlflow.start_run(run_id=run_id), _libyaml():
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            serialization_format="skops",
            skops_trusted_types=trusted_types(spec.name),
            signature=signature,
            input_example=example,
            pip_requirements=str(lock()),
            pyfunc_predict_fn=ask,
        )
    with tempfile.TemporaryDirectory() as folder:
        digests = {
            tag: file_digest(Path(download_artifacts(f"{info.artifact_path}/{name}", dst_path=folder)))
            for tag, name in (("digest", MODEL_FILE), ("mlmodel_digest", DESCRIPTION))
        }
    return info, digests


@contextmanager
def _libyaml() -> Iterator[None]:
    """MLflow writes YAML meanwhile through libyaml, where PyYAML has it: the same text of the locks' hashes in 4 ms
    instead of 130."""
    import yaml

    slow = yaml.SafeDumper
    yaml.SafeDumper = getattr(yaml, "CSafeDumper", slow)  # type: ignore[misc]
    try:
        yield
    finally:
        yaml.SafeDumper = slow  # type: ignore[misc]


def _signature(inputs: "pd.DataFrame", ask: Callable[[Any], Any]) -> tuple["pd.DataFrame", Any]:
    """Three rows as MLflow takes them (times naive, in UTC), and a schema in which all may be missing."""
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, Schema

    example = inputs.head(3).copy()
    for name in example.select_dtypes("datetimetz"):
        example[name] = example[name].dt.tz_localize(None)
    whole = example.select_dtypes("integer").columns
    example[whole] = example[whole].astype("float64")
    found = infer_signature(example, ask(example))
    columns = [ColSpec(column.type, column.name, required=False) for column in found.inputs]
    return example, ModelSignature(Schema(columns), found.outputs)


def _log_baseline(stores: Stores, run_id: str, plain: Any) -> str:
    from skops.io import dump

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL_FILE
        dump(plain, path)
        stores.tracking.log_files(run_id, "baseline", path)
        return file_digest(path)
