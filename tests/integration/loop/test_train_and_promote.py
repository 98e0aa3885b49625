"""Rules from a training set to a champion, on a real MLflow."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.catalog import Comparison
from pipelines.contracts import Candidate, Decision, EvergreenError
from pipelines.gate import evaluate, record
from pipelines.gate.report import files
from pipelines.promotion.promote import promote
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.tracking.model_files import load_verified
from pipelines.stores.tracking.registry import MODEL_FILE, file_digest
from pipelines.training.answers import inputs_of
from pipelines.training.train import train
from tests.training_sets import NOW, spec, training_set

SPEC = spec()


def judged(stores: Stores, rows, model=SPEC):
    made = train(model, rows, stores)
    return made, evaluate(model, made, rows, stores, NOW)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Candidate]:
    """A home in which a version passed its gate and was promoted."""
    home = tmp_path_factory.mktemp("champion")
    stores = Stores(Settings(_env_file=None, home=home))
    made, verdict = judged(stores, training_set(home))
    assert verdict.decision is Decision.PASS, verdict.rules
    assert promote(SPEC, made.version, stores, NOW).promoted
    return home, made


@pytest.fixture
def champion(first: tuple[Path, Candidate], tmp_path: Path) -> Candidate:
    """That version, in a copy of its home."""
    home, made = first
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    return made


def test_the_first_good_candidate_becomes_champion_and_is_loaded_by_digest(stores: Stores, champion) -> None:
    found = stores.tracking.champion("flight_delays")
    assert (found.version, found.digest) == (champion.version, champion.digest)
    assert file_digest(stores.tracking.file(found)) == champion.digest
    assert stores.tracking.load("flight_delays", found.version).predict_proba is not None


def test_the_run_tells_data_code_and_environment(stores: Stores, champion) -> None:
    run = stores.tracking.client.get_run(champion.run_id)
    assert {"delta_versions", "git_commit", "lock_digest", "spec_digest", "training_set", "as_of"} <= set(
        run.data.tags
    )
    assert {"roc_auc", "log_loss", "baseline_roc_auc"} <= set(run.data.metrics)
    assert run.inputs.dataset_inputs


def test_plots_are_drawn_from_the_evidence_once_the_verdict_stands(stores: Stores, champion) -> None:
    assert not stores.tracking.client.list_artifacts(champion.run_id, "plots")
    files.write(SPEC, champion.version, training_set(stores.settings.home), stores)
    plots = {Path(f.path).name for f in stores.tracking.client.list_artifacts(champion.run_id, "plots")}
    assert plots == {
        f"{n}.png" for n in ("calibration", "roc", "precision_recall", "confusion", "importance")
    }


def test_a_version_tells_the_columns_it_takes(stores: Stores, champion) -> None:
    version = stores.tracking.newest("flight_delays")
    model = stores.tracking.load("flight_delays", version.version)
    assert stores.tracking.inputs(version) == list(model.feature_names_in_)


def test_training_again_on_the_same_rows_makes_no_second_version(
    stores: Stores, champion, tmp_path: Path
) -> None:
    assert train(SPEC, training_set(tmp_path), stores).version == champion.version
    assert len(stores.tracking.versions("flight_delays")) == 1


def test_only_rows_of_the_training_split_are_learned_from(stores: Stores, tmp_path: Path) -> None:
    """With every held-out label flipped the model file stays the same, byte for byte in what it predicts."""
    rows = training_set(tmp_path, name="a")
    flipped = training_set(tmp_path, name="b")
    data = pd.read_parquet(flipped.path)
    held = data.split == "holdout"
    assert held.any()
    data.loc[held, "label"] = 1 - data.loc[held, "label"]
    data.to_parquet(flipped.path, index=False)
    first, second = train(SPEC, rows, stores), train(SPEC, flipped, stores)
    assert first.version != second.version
    one, other = (stores.tracking.load("flight_delays", c.version) for c in (first, second))
    inputs = inputs_of(data, one)
    np.testing.assert_array_equal(one.predict_proba(inputs), other.predict_proba(inputs))


def test_a_candidate_that_learned_nothing_fails_and_changes_nothing(
    stores: Stores, champion, tmp_path: Path
) -> None:
    noise = training_set(tmp_path, seed=1, signal=0.0, name="n")
    made, verdict = judged(stores, noise)
    assert verdict.decision is Decision.FAIL
    answer = promote(SPEC, made.version, stores, NOW)
    assert not answer.promoted
    assert stores.tracking.champion("flight_delays").version == champion.version


def test_a_tied_candidate_is_inconclusive_where_better_is_asked(
    stores: Stores, champion, tmp_path: Path
) -> None:
    strict = spec(champion=Comparison(rule="better"))
    rows = training_set(tmp_path, name="t")
    made = train(
        strict.model_copy(update={"parameters": {**SPEC.parameters, "random_state": 1}}), rows, stores
    )
    verdict = evaluate(strict, made, rows, stores, NOW)
    assert verdict.decision is Decision.INCONCLUSIVE
    assert not promote(strict, made.version, stores, NOW).promoted


def test_the_champion_is_not_compared_with_itself(stores: Stores, champion, tmp_path: Path) -> None:
    verdict = evaluate(SPEC, champion, training_set(tmp_path), stores, NOW)
    assert verdict.decision is Decision.INCONCLUSIVE
    assert any("itself" in rule.explanation for rule in verdict.rules)


def test_too_few_held_out_rows_are_inconclusive(stores: Stores, tmp_path: Path) -> None:
    _, verdict = judged(stores, training_set(tmp_path), spec(minimum_rows=10**6))
    assert verdict.decision is Decision.INCONCLUSIVE


def test_a_floor_that_is_missed_fails(stores: Stores, tmp_path: Path) -> None:
    _, verdict = judged(stores, training_set(tmp_path), spec(floors={"roc_auc": 0.999}))
    assert verdict.decision is Decision.FAIL


def test_promoting_twice_changes_nothing_the_second_time(stores: Stores, champion) -> None:
    before = stores.tracking.champion("flight_delays")
    again = promote(SPEC, champion.version, stores, NOW)
    assert not again.promoted
    assert "already" in again.reason
    assert stores.tracking.champion("flight_delays") == before


def test_a_verdict_given_against_another_champion_promotes_nothing(stores: Stores, tmp_path: Path) -> None:
    first, _ = judged(stores, training_set(tmp_path))
    second, verdict = judged(stores, training_set(tmp_path, seed=2, name="u"))
    assert verdict.decision is Decision.PASS
    assert promote(SPEC, first.version, stores, NOW).promoted
    answer = promote(SPEC, second.version, stores, NOW)
    assert not answer.promoted
    assert "judge again" in answer.reason


def test_an_edited_decision_record_is_refused(stores: Stores, champion) -> None:
    path = record.path_of(SPEC.name, champion.version, stores)
    path.write_text(path.read_text().replace("PASS", "PASS "))
    with pytest.raises(EvergreenError, match="not the record"):
        record.read(stores.tracking.version(SPEC.name, champion.version), stores)


def test_a_model_file_that_was_changed_is_refused(stores: Stores, tmp_path: Path) -> None:
    version = train(SPEC, training_set(tmp_path), stores).version
    logged = list(tmp_path.glob(f"mlartifacts/**/{MODEL_FILE}"))
    assert logged
    for file in logged:
        with file.open("ab") as end:
            end.write(b"x")
    with pytest.raises(EvergreenError, match="changed after training"):
        stores.tracking.load("flight_delays", version)


def test_a_model_file_with_a_foreign_type_is_refused(tmp_path: Path) -> None:
    import subprocess

    from sklearn.preprocessing import FunctionTransformer
    from skops.io import dump

    path = tmp_path / MODEL_FILE
    dump(FunctionTransformer(subprocess.check_output), path)
    with pytest.raises(EvergreenError, match=r"subprocess\.check_output"):
        load_verified(path, file_digest(path), "flight_delays")


def test_an_unknown_parameter_is_named(stores: Stores, tmp_path: Path) -> None:
    wrong = SPEC.model_copy(update={"parameters": {"max_itre": 3}})
    with pytest.raises(EvergreenError, match="max_itre"):
        train(wrong, training_set(tmp_path), stores)


def test_too_few_rows_are_an_error_that_names_the_knob(stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match="minimum_rows"):
        train(SPEC, training_set(tmp_path, rows=100), stores)
