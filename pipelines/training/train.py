"""Fits one candidate and its baseline, logs them and registers the candidate."""

import importlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import Candidate, EvergreenError, TrainingSet
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.locks import at_work
from pipelines.stores.tracking.registry import RETIRED, Version
from pipelines.training import contract
from pipelines.training.answers import NOT_INPUT, answers_digest
from pipelines.training.checkout import fit_threads, libraries
from pipelines.training.registration import LONGEST, register

if TYPE_CHECKING:
    import pandas as pd


def train(
    spec: ModelSpec,
    training_set: TrainingSet,
    stores: Stores,
    trigger: str = "manual",
    record: Mapping[str, Any] | None = None,
) -> Candidate:
    """A registered candidate for this training set; asked again, the one that is there.

    Only rows of the split `train` are learned from. `record` is the plan with its batches; it is kept with the
    version.
    """
    code = spec.digest
    known = _existing(spec, training_set, code, stores)
    if known is not None:
        events.registered(known, stores)
        return candidate(known)
    contract.check(spec)
    renewed(spec)
    with at_work(stores.settings):
        return candidate(_fitted(spec, training_set, stores, trigger, record or {}))


def _fitted(
    spec: ModelSpec, training_set: TrainingSet, stores: Stores, trigger: str, record: Mapping[str, Any]
) -> Version:
    rows, held = _checked(spec, training_set)
    inputs, labels = rows.drop(columns=list(NOT_INPUT)), rows["label"]
    with limited(fit_threads(spec, stores)):
        model = contract.fitted(spec, estimator(spec), inputs, labels)
        contract.says_inputs(spec, model)
        plain = contract.fitted(spec, baseline(spec), inputs, labels)
    facts = _facts(training_set, trigger, spec.digest, record) | _comparable(spec, model, held)
    return register(spec, training_set, stores, facts, record, (model, plain), inputs, rows)


def candidate(version: Version) -> Candidate:
    return Candidate(
        version.model,
        version.version,
        version.run_id,
        version.digest,
        version.as_of,
        version.tags["training_set"],
    )


def estimator(spec: ModelSpec) -> Any:
    """The model's unfitted Pipeline; a parameter it does not know is an error that names it."""
    try:
        return _module(spec).build(spec.parameters)
    except TypeError as error:
        raise EvergreenError(f"{spec.folder}/spec.yaml: parameters: {error}; remove or mend it") from error


def baseline(spec: ModelSpec) -> Any:
    """The unfitted pipeline that the model must beat."""
    return _module(spec).baseline()


def renewed(spec: ModelSpec) -> None:
    """The model's code as it is now: a scheduler that forks its tasks holds it as it was when it started."""
    importlib.reload(_module(spec))


def _module(spec: ModelSpec) -> Any:
    return importlib.import_module(f"pipelines.models.{spec.name}.estimator")


def parameters_tag(spec: ModelSpec) -> str:
    """The parameters in their one written form; those of a search are not spec.yaml's."""
    return json.dumps(spec.parameters, sort_keys=True)


def _comparable(spec: ModelSpec, model: Any, held: "pd.DataFrame") -> dict[str, str]:
    """What a reproduction is held against: the parameters, and the digest of the answers to the held-out rows."""
    return {"parameters": parameters_tag(spec), "answers_digest": answers_digest(model, held, spec.outputs)}


def _existing(spec: ModelSpec, training_set: TrainingSet, code: str, stores: Stores) -> Version | None:
    question = {
        "training_set": training_set.digest,
        "spec_digest": code,
        "parameters": parameters_tag(spec),
    }
    versions = (v for v in stores.tracking.versions(spec.name) if RETIRED not in v.tags)
    return next((v for v in versions if all(v.tags.get(k) == s for k, s in question.items())), None)


def _checked(spec: ModelSpec, training_set: TrainingSet) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The rows to learn from and the held-out ones; EvergreenError if they are too few or say nothing."""
    import pandas as pd

    least = spec.training.minimum_rows
    if training_set.rows < least:
        raise EvergreenError(
            f"{spec.name}: {training_set.rows:,} rows to learn from, {least:,} are needed "
            "(training.minimum_rows); land more data or lower it"
        )
    if spec.task == "classification" and not 0 < (training_set.positives or 0) < training_set.rows:
        raise EvergreenError(f"{spec.name}: the labels have only one class; check label.sql")
    rows = pd.read_parquet(training_set.path)
    _every_class(spec, rows.loc[rows["split"] == "train", "label"])
    train, held = (rows[rows["split"] == part].reset_index(drop=True) for part in ("train", "holdout"))
    return train, held


def _every_class(spec: ModelSpec, labels: "pd.Series[Any]") -> None:
    """EvergreenError if there is no row to learn some class from."""
    there = {int(place) for place in labels.unique()} if spec.label.classes else set()
    lacking = [str(name) for place, name in enumerate(spec.label.classes) if place not in there]
    if lacking:
        raise EvergreenError(
            f"{spec.name}: no row to learn from is {' or '.join(lacking)}; land such rows, or take it out of"
            " label.classes and leave its rows out in label.sql"
        )


def limited(threads: int) -> Any:
    """A context in which numerical libraries use so many threads."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads)


def _facts(training_set: TrainingSet, trigger: str, code: str, record: Mapping[str, Any]) -> dict[str, str]:
    """What run and version are tagged with: why, when and from what. Long lists are in the record."""
    facts = {
        "trigger": trigger,
        "as_of": training_set.as_of.isoformat(),
        "training_set": training_set.digest,
        "training_rows": training_set.content,
        "feature_views": json.dumps(training_set.views, sort_keys=True),
        "spec_digest": code,
        "libraries": json.dumps(libraries(), sort_keys=True),
    }
    if not record:
        return facts
    why = "; ".join(f"{reason['cause']}: {reason['detail']}" for reason in record["reasons"])
    policy = ", ".join(f"{name} {value}" for name, value in record["policy"].items())
    batches = f"{record['new_batches']} with {record['new_rows']} rows"
    return facts | {
        "training": record["key"],
        "reasons": why[:LONGEST],
        "policy": policy,
        "forced": str(record["forced"]).lower(),
        "batches": batches,
    }
