"""The search for better parameters: within a budget, resumable, and never on held-out rows."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec, Range, Search
from pipelines.contracts import EvergreenError, Say, TrainingSet
from pipelines.stores import Stores
from pipelines.stores.locks import exclusive
from pipelines.stores.tracking.studies import Studies
from pipelines.training.answers import NOT_INPUT, answered
from pipelines.training.metrics import measure
from pipelines.training.search import runs
from pipelines.training.search.time_folds import time_folds
from pipelines.training.train import estimator, limited, renewed

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from pipelines.training.search.time_folds import Fold


@dataclass(frozen=True)
class Found:
    """What a search found: the best value on the folds and its parameters, beside what spec.yaml's reach there.

    `parameters` are all of the model's; `changed` those in which they differ from spec.yaml's.
    """

    model: str
    study: str
    run_id: str
    training_set: str
    as_of: datetime
    metric: str
    present: float
    best: float
    parameters: dict[str, Any]
    changed: dict[str, Any]
    trials: int
    pruned: int
    complete: bool
    seconds: float


def search(
    spec: ModelSpec, training_set: TrainingSet, stores: Stores, trials: int | None = None, say: Say = print
) -> Found:
    """The best parameters for this training set within the budget of spec.yaml; what was tried before is not lost.

    The same question, asked again, goes on where it was: an interrupted search ends as if it never had been.
    """
    wanted = asked(spec)
    renewed(spec)
    _known(spec, wanted)
    name, count = study_name(spec, training_set), trials or wanted.trials
    with exclusive(f"search-{spec.name}", stores.settings):
        study = Studies(stores.settings).opened(name, wanted.maximize, _facts(spec, training_set, count))
        _abandoned(study)
        run = runs.opened(spec, training_set, study, stores)
        parts = time_folds(spec, training_set, wanted.folds)
        while (done := len(_finished(study))) < count and _spent(study) < wanted.timeout:
            _try(spec, study, parts, stores.settings.threads)
            runs.shown(spec, study, run, stores)
            say(_told(study, _finished(study)[-1], done + 1, count, wanted.metric))
        runs.shown(spec, study, run, stores, ended=True)
    return _found(spec, training_set, study, run, count)


def asked(spec: ModelSpec) -> Search:
    """What spec.yaml says of the search; EvergreenError if nothing."""
    if spec.search is None:
        raise EvergreenError(f"{spec.folder}/spec.yaml has no `search`; add its trials and space")
    return spec.search


def study_name(spec: ModelSpec, training_set: TrainingSet) -> str:
    """Names the question: another spec, other rows or another moment are another study."""
    question = [spec.digest, training_set.digest, training_set.content, repr(spec.search), spec.parameters]
    return f"{spec.name}-{hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:16]}"


def unfinished(spec: ModelSpec, stores: Stores) -> dict[str, Any]:
    """The facts of the newest search that has not ended and whose spec is still this one; EvergreenError without."""
    for facts in Studies(stores.settings).facts(model=spec.name):
        if facts["ended"]:
            continue
        if facts["spec_digest"] != spec.digest:
            raise EvergreenError(
                f"{spec.name} has changed since the search as of {facts['as_of']} began, so its trials answer "
                f"another question; begin anew with `evergreen search {spec.name}`"
            )
        return facts
    raise EvergreenError(
        f"no search of {spec.name} was interrupted; `evergreen search {spec.name}` begins one"
    )


def _known(spec: ModelSpec, wanted: Search) -> None:
    """Every parameter of the space is one that the estimator has; EvergreenError names one that is not."""
    for name in wanted.space:
        try:
            estimator(spec.model_copy(update={"parameters": {name: spec.parameters[name]}}))
        except EvergreenError as error:
            raise EvergreenError(f"{spec.folder}/spec.yaml: search.space.{name}: {error}") from error


def _facts(spec: ModelSpec, training_set: TrainingSet, count: int) -> dict[str, Any]:
    return {
        "model": spec.name,
        "as_of": training_set.as_of.isoformat(),
        "training_set": training_set.digest,
        "versions": training_set.versions,
        "views": training_set.views,
        "spec_digest": spec.digest,
        "trials": count,
        "ended": False,
    }


def _abandoned(study: "Study") -> None:
    """Trials whose process died fail; what they tried is tried again, as nobody else holds the lock."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _finished(study: "Study") -> "list[FrozenTrial]":
    from optuna.trial import TrialState

    return list(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


def _spent(study: "Study") -> timedelta:
    """The work on trials so far, over all runs of the search."""
    return sum((trial.duration for trial in _finished(study) if trial.duration), timedelta(0))


def _try(spec: ModelSpec, study: "Study", parts: "list[Fold]", threads: int) -> None:
    """One trial. What it tries follows from the seed and the finished trials alone, so a restart changes nothing."""
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    wanted, done = asked(spec), len(_finished(study))
    study.sampler = TPESampler(seed=wanted.seed + done)
    if done == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial({name: spec.parameters[name] for name in wanted.space})
    trial = study.ask({name: _distribution(values) for name, values in wanted.space.items()})
    with limited(threads):  # the estimator's libraries are loaded by now: it does not reach later ones
        value = _value(spec, trial, parts)
    study.tell(trial, value, state=TrialState.PRUNED if value is None else TrialState.COMPLETE)


def _distribution(values: Any) -> "BaseDistribution":
    from optuna import distributions

    if not isinstance(values, Range):
        return distributions.CategoricalDistribution(values.choices)
    if values.whole:
        return distributions.IntDistribution(int(values.low), int(values.high), log=values.log)
    return distributions.FloatDistribution(float(values.low), float(values.high), log=values.log)


def _value(spec: ModelSpec, trial: "Trial", parts: "list[Fold]") -> float | None:
    """The mean of the metric over the folds; None where it fell behind the others on the way."""
    values: list[float] = []
    for number, part in enumerate(parts, start=1):
        values.append(_judged(spec, {**spec.parameters, **trial.params}, part))
        trial.set_user_attr(f"fold_{number}", values[-1])
        trial.report(sum(values) / number, number)
        if number < len(parts) and trial.should_prune():
            return None
    return sum(values) / len(values)


def _judged(spec: ModelSpec, parameters: dict[str, Any], part: "Fold") -> float:
    learned, judged = part
    tried = spec.model_copy(update={"parameters": parameters})
    try:
        model = estimator(tried).fit(learned.drop(columns=list(NOT_INPUT)), learned["label"])
    except ValueError as error:
        raise EvergreenError(
            f"{spec.name} cannot be fitted with {parameters}: {error}; mend search.space in spec.yaml"
        ) from error
    return measure(
        asked(spec).metric, judged["label"].to_numpy("float64"), answered(model, judged, spec.outputs)
    )


def _told(study: "Study", trial: "FrozenTrial", number: int, count: int, metric: str) -> str:
    tried = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
    said = (
        f"{metric} {trial.value:.5f}"
        if trial.value is not None and trial.state.name == "COMPLETE"
        else "given up"
    )
    took = f"{trial.duration.total_seconds():.0f} s" if trial.duration else ""
    return f"trial {number} of {count}: {said} (best {study.best_value:.5f}), {took}: {tried}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _found(spec: ModelSpec, training_set: TrainingSet, study: "Study", run: str, count: int) -> Found:
    wanted, finished = asked(spec), _finished(study)
    first, best = finished[0], study.best_trial
    changed = {name: value for name, value in best.params.items() if value != spec.parameters[name]}
    return Found(
        model=spec.name,
        study=study.study_name,
        run_id=run,
        training_set=training_set.digest,
        as_of=training_set.as_of,
        metric=wanted.metric,
        present=float(first.value or 0.0),
        best=float(study.best_value),
        parameters={**spec.parameters, **changed},
        changed=changed,
        trials=len(finished),
        pruned=sum(trial.state.name == "PRUNED" for trial in finished),
        complete=len(finished) >= count,
        seconds=_spent(study).total_seconds(),
    )
