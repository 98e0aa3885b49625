"""Rules of the search: within its budget, resumable, on training rows alone, and never past the gate."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from pipelines import catalog
from pipelines.contracts import EvergreenError, as_json
from pipelines.loop import steps
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from pipelines.stores.tracking.studies import Studies
from pipelines.training.search import search, study_name, unfinished
from pipelines.training.search.runs import PARENT
from pipelines.training.search.time_folds import time_folds
from pipelines.training.train import train
from tests.searches import searched_spec
from tests.training_sets import NOW, training_set

SPEC = searched_spec()


def quiet(_: str) -> None:
    """Nobody is told."""


def tried(stores: Stores, name: str) -> list[tuple[str, dict[str, object], float | None]]:
    """State, parameters and value of every trial that ended, in order."""
    found = Studies(stores.settings).opened(name, False, {}).get_trials()
    return [(t.state.name, t.params, t.value) for t in found if t.state.name != "FAIL"]


@pytest.fixture
def rows(tmp_path: Path):
    return training_set(tmp_path, rows=1500)


def test_a_search_finds_parameters_at_least_as_good_as_those_it_began_with(stores: Stores, rows) -> None:
    told: list[str] = []
    found = search(SPEC, rows, stores, say=told.append)
    assert (found.trials, found.complete) == (8, True)
    assert found.best <= found.present
    assert set(found.changed) <= set(SPEC.search.space)
    assert found.parameters == {**SPEC.parameters, **found.changed}
    assert [line.split(":")[0] for line in told] == [f"trial {n} of 8" for n in range(1, 9)]
    first = tried(stores, found.study)[0]
    assert first[:2] == ("COMPLETE", {name: SPEC.parameters[name] for name in SPEC.search.space})


def test_the_held_out_rows_are_never_looked_at(stores: Stores, rows) -> None:
    """With every held-out label flipped and every held-out feature gone, each trial comes out the same."""
    before = tried(stores, search(SPEC, rows, stores, 4, quiet).study)
    data = pd.read_parquet(rows.path)
    held = data.split == "holdout"
    assert held.sum() > 100
    data.loc[held, "label"] = 1 - data.loc[held, "label"]
    data.loc[held, "origin_congestion__mean_departure_delay_1h"] = None
    data.to_parquet(rows.path, index=False)
    other = training_set_like(rows, "b")
    assert study_name(SPEC, other) != study_name(SPEC, rows)
    assert tried(stores, search(SPEC, other, stores, 4, quiet).study) == before


def training_set_like(rows, name: str):
    from dataclasses import replace

    return replace(rows, digest=name * 64)


def test_each_fold_learns_only_what_was_known_before_it_began(rows) -> None:
    found = time_folds(SPEC, rows, 3)
    assert len(found) == 3
    ends = []
    for learned, judged in found:
        begins = judged.event_timestamp.min()
        assert len(learned)
        assert len(judged)
        assert learned.label_known_at.max() < begins.floor("h") + pd.Timedelta(hours=1)
        assert learned.event_timestamp.max() < begins
        assert judged.event_timestamp.max() < pd.Timestamp(rows.holdout_start)
        ends.append(judged.event_timestamp.max())
    assert ends == sorted(ends)


def test_a_search_that_was_killed_goes_on_as_if_it_never_had_been(
    stores: Stores, rows, tmp_path: Path
) -> None:
    """Killed -9 in its fourth trial, resumed: the same trials with the same values, none lost, none twice."""
    home = tmp_path / "killed"
    home.mkdir()
    command = [sys.executable, "-m", "tests.searches", str(home)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("trial 3"):
                process.kill()
    assert process.returncode == -9
    other = Stores(stores.settings.model_copy(update={"home": home}))
    name = study_name(SPEC, rows)
    assert unfinished(SPEC, other)["training_set"] == rows.digest
    assert 3 <= len([t for t in tried(other, name) if t[0] in ("COMPLETE", "PRUNED")]) < 8
    resumed = search(SPEC, rows, other, say=quiet)
    whole = search(SPEC, rows, stores, say=quiet)
    assert (resumed.study, resumed.trials) == (name, 8)
    assert tried(other, name) == tried(stores, name)
    assert resumed.changed == whole.changed
    with pytest.raises(EvergreenError, match="no search of flight_delays was interrupted"):
        unfinished(SPEC, other)


def test_a_search_that_ended_is_not_made_again(stores: Stores, rows) -> None:
    first = search(SPEC, rows, stores, 3, quiet)
    told: list[str] = []
    assert search(SPEC, rows, stores, 3, told.append) == first
    assert told == []
    assert search(SPEC, rows, stores, 5, quiet).trials == 5


def test_every_trial_is_a_nested_run_that_can_be_compared(stores: Stores, rows) -> None:
    found = search(SPEC, rows, stores, 4, quiet)
    client, experiment = stores.tracking.client, stores.tracking.experiment(SPEC.name)
    runs = client.search_runs([experiment], f"tags.`{PARENT}` = '{found.run_id}'")
    assert len(runs) == 4
    complete = [run for run in runs if run.data.tags["outcome"] == "complete"]
    assert min(run.data.metrics["log_loss"] for run in complete) == pytest.approx(found.best)
    assert all({"learning_rate", "random_state"} <= set(run.data.params) for run in runs)
    parent = client.get_run(found.run_id)
    assert parent.info.status == "FINISHED"
    assert {"training_set", "spec_digest", "git_commit"} <= set(parent.data.tags)
    assert len(client.get_metric_history(found.run_id, "best_log_loss")) == 4


def test_a_parameter_that_the_estimator_does_not_have_is_named(stores: Stores, rows) -> None:
    wrong = SPEC.model_copy(
        update={
            "parameters": {**SPEC.parameters, "max_itre": 3},
            "search": SPEC.search.model_copy(update={"space": {"max_itre": catalog.Range(low=1, high=9)}}),
        }
    )
    with pytest.raises(EvergreenError, match=r"search\.space\.max_itre: .*max_itre"):
        search(wrong, rows, stores, say=quiet)


def test_a_value_that_the_estimator_refuses_ends_the_search_with_what_to_mend(stores: Stores, rows) -> None:
    wide = SPEC.search.model_copy(update={"space": {"learning_rate": catalog.Range(low=-9.0, high=0.3)}})
    with pytest.raises(EvergreenError, match=r"learning_rate.*mend search\.space"):
        search(SPEC.model_copy(update={"search": wide}), rows, stores, say=quiet)


def test_no_trial_begins_once_the_budget_is_used_up(stores: Stores, rows) -> None:
    short = SPEC.model_copy(update={"search": SPEC.search.model_copy(update={"timeout": timedelta(0, 0, 1)})})
    found = search(short, rows, stores, say=quiet)
    assert (found.trials, found.complete) == (1, False)


def test_what_is_found_is_a_candidate_for_the_gate_and_no_champion(
    stores: Stores, rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parameters are on the version, beside one that spec.yaml's parameters made of the same rows."""
    monkeypatch.setattr(catalog, "model", lambda name: SPEC)
    monkeypatch.setattr(steps, "_searched", lambda *_: rows)
    plain = train(SPEC, rows, stores)
    answer = steps.search("flight_delays", now=NOW.isoformat(), say=quiet)
    found, made = answer["search"], answer["candidate"]
    assert found["changed"]
    assert made["version"] == plain.version + 1
    version = stores.tracking.version("flight_delays", made["version"])
    assert (
        version.tags["parameters"]
        != stores.tracking.version("flight_delays", plain.version).tags["parameters"]
    )
    assert found["run_id"] in version.tags["reasons"]
    assert stores.tracking.load("flight_delays", version.version)[-1].get_params()[
        "learning_rate"
    ] == pytest.approx(found["parameters"]["learning_rate"])
    assert stores.tracking.champion("flight_delays") is None
    verdict = steps.evaluate("flight_delays", made, as_json(rows), NOW.isoformat())
    assert verdict["version"] == made["version"]
    assert verdict["rules"]
