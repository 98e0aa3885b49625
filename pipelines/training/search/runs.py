"""A search as MLflow shows it: one run for the search, a nested one for each trial."""

import json
from typing import TYPE_CHECKING

from pipelines.catalog import ModelSpec
from pipelines.contracts import TrainingSet
from pipelines.stores import Stores
from pipelines.stores.tracking import long_values
from pipelines.training.checkout import commit, environment

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

PARENT, STUDY, TRIAL = "mlflow.parentRunId", "search", "trial"


def opened(spec: ModelSpec, training_set: TrainingSet, study: "Study", stores: Stores) -> str:
    """The run of a search, the same when it goes on after an interruption."""
    client, experiment = stores.tracking.client, stores.tracking.experiment(spec.name)
    there = client.search_runs([experiment], f"tags.{STUDY} = '{study.study_name}'", max_results=1)
    if there:
        client.update_run(there[0].info.run_id, status="RUNNING")
        return str(there[0].info.run_id)
    tags = {
        STUDY: study.study_name,
        "as_of": training_set.as_of.isoformat(),
        "training_set": training_set.digest,
        "training_rows": training_set.content,
        "spec_digest": spec.digest,
        "delta_versions": json.dumps(training_set.versions, sort_keys=True),
        "lock_digest": environment(),
        "git_commit": commit(),
        "space": spec.search.model_dump_json() if spec.search else "",
    }
    name = f"search as of {training_set.as_of:%Y-%m-%d %H:%M}"
    _, told, whole = long_values.shortened({}, tags)
    made = str(client.create_run(experiment, tags=told, run_name=name).info.run_id)
    stores.tracking.keep_whole(made, whole)
    return made


def shown(spec: ModelSpec, study: "Study", run: str, stores: Stores, ended: bool = False) -> None:
    """Every finished trial has its run, once; the search's run has the best value after each trial."""
    from optuna.trial import TrialState

    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    there = _numbers(spec, run, stores)
    for place, trial in enumerate(finished, start=1):
        if str(trial.number) not in there:
            _log(spec, trial, place, run, stores)
            stores.tracking.client.log_metric(run, f"best_{_metric(spec)}", study.best_value, step=place)
    if ended:
        study.set_user_attr("ended", True)
        stores.tracking.client.set_terminated(run)


def _metric(spec: ModelSpec) -> str:
    return spec.search.metric if spec.search else ""


def _numbers(spec: ModelSpec, run: str, stores: Stores) -> set[str]:
    """The trials that have a complete run; one that was cut off is deleted."""
    client, experiment = stores.tracking.client, stores.tracking.experiment(spec.name)
    found = client.search_runs([experiment], f"tags.`{PARENT}` = '{run}'", max_results=5000)
    for each in found:
        if each.info.status != "FINISHED":
            client.delete_run(each.info.run_id)
    return {each.data.tags[TRIAL] for each in found if each.info.status == "FINISHED"}


def _log(spec: ModelSpec, trial: "FrozenTrial", place: int, run: str, stores: Stores) -> None:
    from mlflow.entities import Metric

    client, experiment = stores.tracking.client, stores.tracking.experiment(spec.name)
    tags = {PARENT: run, TRIAL: str(trial.number), "outcome": trial.state.name.lower()}
    made = client.create_run(experiment, tags=tags, run_name=f"trial {place}").info.run_id
    values = {name: float(value) for name, value in trial.user_attrs.items() if name.startswith("fold_")}
    if trial.value is not None and trial.state.name == "COMPLETE":
        values[_metric(spec)] = trial.value
    parameters = {name: str(value) for name, value in {**spec.parameters, **trial.params}.items()}
    stores.tracking.log_facts(made, parameters, {})
    client.log_batch(made, metrics=[Metric(name, value, 0, 0) for name, value in values.items()])
    client.set_terminated(made)
