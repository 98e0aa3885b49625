"""Rules of a model that tells more than two classes apart: trained, judged, attested, served, logged and watched."""

import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from fastapi.testclient import TestClient

from pipelines import catalog, models
from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, TrainingSet, Verdict
from pipelines.gate import evaluate, notary, record
from pipelines.gate.report import files
from pipelines.monitoring.decay import at_gate, decay
from pipelines.record import card, explain
from pipelines.record.contributions import contributions
from pipelines.serving.app import create_app
from pipelines.serving.schemas import example
from pipelines.serving.sources import OneByOne
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.audit.licences import Licence, licensed
from pipelines.stores.feature_store.online_values import Online
from pipelines.stores.tracking.registry import CHAMPION, file_digest
from pipelines.training.train import train
from tests.training_sets import AS_OF, NOW, frame

FEATURE = "origin_congestion__mean_departure_delay_1h"
CLASSES = ("on time", "late", "very late", "cancelled")
ESTIMATOR = f'''
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline


def build(parameters):
    keep = ColumnTransformer([("numbers", "passthrough", ["{FEATURE}"])])
    return Pipeline([("keep", keep), ("fill", SimpleImputer()), ("model", LogisticRegression())])


def baseline():
    return DummyClassifier(strategy="prior")
'''


@pytest.fixture(scope="module")
def delays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelSpec]:
    """flight_delays as four classes, its estimator here and in the probe another."""
    home = tmp_path_factory.mktemp("elsewhere")
    own = home / "models" / "flight_delays"
    own.mkdir(parents=True)
    (own / "__init__.py").touch()
    (own / "estimator.py").write_text(ESTIMATOR)
    (home / "sitecustomize.py").write_text(
        f"import pipelines.models\npipelines.models.__path__.insert(0, {str(home / 'models')!r})\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(home))
        patch.setattr(models, "__path__", [str(home / "models"), *models.__path__])
        for name in [n for n in sys.modules if n.startswith("pipelines.models.")]:
            patch.delitem(sys.modules, name)
        patch.delattr(models, "flight_delays", raising=False)
        yield of_classes()


def of_classes() -> ModelSpec:
    plain = yaml.safe_load((catalog.model("flight_delays").folder / "spec.yaml").read_text())
    for name in ("search", "threshold"):
        plain.pop(name)
    plain["label"]["classes"] = list(CLASSES)
    plain["monitor"]["decay"] = {"margin": 0.05, "minimum_rows": 50, "minimum_days": 2}
    plain["training"]["minimum_rows"] = 200
    gate = {
        "floors": {"roc_auc": 0.6}, "minimum_rows": 200, "rebuild": False,
        "serving": {"questions": 30, "p99_ms": 5000},
        "slices": {"columns": ["origin"], "minimum_rows": 50, "margin": 0.2, "floors": {"accuracy": 0.3}},
        "fairness": [
            {"group": "origin", "at_most": 0.9, "minimum_rows": 50, "measure": "demographic_parity_difference"}
        ],
        "behaviour": {"directions": [{"name": "crowds", "class": "cancelled", "add": {FEATURE: 1.0}, "expect": "up"}]},
    }  # fmt: skip
    return ModelSpec.model_validate({**plain, "task": "multiclass", "parameters": {}, "gate": gate})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return Stores(Settings(_env_file=None, home=tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def rows(shared: Stores) -> TrainingSet:
    """Flights whose class follows one feature; labels are the classes' places, as a training set has them."""
    data = frame(2000, 0, 2.0)
    noise = np.random.default_rng(1).normal(size=len(data))
    data["label"] = np.digitize(data[FEATURE] + 0.4 * noise, [-0.7, 0.1, 0.9])
    path = shared.settings.home / "training_sets" / "flight_delays" / f"{'c' * 64}.parquet"
    path.parent.mkdir(parents=True)
    data.to_parquet(path, index=False)
    learned = int((data.split == "train").sum())
    return TrainingSet(
        "flight_delays", AS_OF, "c" * 64, str(path), learned, None, AS_OF, len(data) - learned,
        content=file_digest(path),
    )  # fmt: skip


@pytest.fixture(scope="module")
def verdict(delays: ModelSpec, rows: TrainingSet, shared: Stores) -> Verdict:
    return evaluate(delays, train(delays, rows, shared), rows, shared, NOW)


def test_an_honest_multiclass_passes_every_rule_where_it_serves_and_before_the_notary(
    delays: ModelSpec, verdict: Verdict, shared: Stores
) -> None:
    assert verdict.decision is Decision.PASS, [r for r in verdict.rules if r.decision is not Decision.PASS]
    names = {rule.name for rule in verdict.rules}
    assert {f"class {each} is found" for each in CLASSES} < names
    assert {"calibration over 10 bins", "serves: as the gate was answered", "behaviour: crowds"} < names
    assert set(verdict.metrics["candidate"]) >= {"balanced_accuracy", "log_loss", "roc_auc"}
    assert notary.attested(delays, verdict.version, shared).decision is Decision.PASS


def test_the_notary_sees_evidence_in_which_two_classes_are_swapped(
    delays: ModelSpec, verdict: Verdict, shared: Stores
) -> None:
    """Every row still holds probabilities that sum to one; they are only not what the model says."""
    found = shared.tracking.version(delays.name, verdict.version)
    deed = notary._deed(delays, found, verdict, shared)
    assert notary._examined(deed) == []
    lists = [said[[1, 0, 2, 3]] for said in deed.evidence["candidate"]]
    swapped = replace(deed, evidence=deed.evidence.assign(candidate=lists))
    assert any("answers of the candidate" in why for why in notary._examined(swapped))


def test_the_pages_of_a_multiclass_say_what_was_taken_for_what(
    delays: ModelSpec, verdict: Verdict, rows: TrainingSet, shared: Stores
) -> None:
    files.write(delays, verdict.version, rows, shared)
    text = card.write(delays, verdict.version, shared).read_text()
    page = record.path_of(delays.name, verdict.version, shared).with_suffix(".html")
    drawn = {path.stem for path in page.with_suffix("").glob("*.png")}
    assert drawn == {"calibration", "roc", "confusion", "importance"}
    assert "| is, and is predicted as | on time | late | very late | cancelled |" in text
    assert all(f"<figcaption>{each}</figcaption>" in page.read_text() for each in CLASSES)


def test_a_class_without_a_row_to_learn_from_is_refused_by_name(
    delays: ModelSpec, rows: TrainingSet, shared: Stores, tmp_path: Path
) -> None:
    data = pd.read_parquet(rows.path)
    fewer = tmp_path / "fewer.parquet"
    data[(data["label"] != 3) | (data["split"] == "holdout")].to_parquet(fewer, index=False)
    with pytest.raises(EvergreenError, match="no row to learn from is cancelled"):
        train(delays, replace(rows, digest="d" * 64, path=str(fewer)), shared)


def test_a_multiclass_has_decayed_when_its_log_loss_rose(
    delays: ModelSpec, verdict: Verdict, rows: TrainingSet, shared: Stores
) -> None:
    version = shared.tracking.version(delays.name, verdict.version)
    held = pd.read_parquet(rows.path).query("split == 'holdout'")
    later = held.assign(event_timestamp=held["event_timestamp"] + pd.Timedelta(days=7))
    moved = later.assign(label=(later["label"] + 1) % len(CLASSES))
    fitted = shared.tracking.fitted(version)
    gate = at_gate(delays, version, fitted, shared)
    as_before, worse = (decay(delays, version, fitted, each, gate) for each in (later, moved))
    assert not as_before.decayed
    assert worse.decayed
    assert "log_loss" in worse.explanation


class Crowded(OneByOne):
    def online(self, names: Any, *_: Any) -> Online:
        return Online(dict.fromkeys(names, 2.5), {})

    def feature_names(self, spec: ModelSpec) -> list[str]:
        return [FEATURE]


def test_a_multiclass_answers_the_likeliest_class_with_all_probabilities_and_logs_them_first(
    delays: ModelSpec, verdict: Verdict, shared: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Licence(delays.name, verdict.version, verdict.digest, "PASS", "", "a test", NOW)
    shared.tracking.tag(delays.name, verdict.version, licensed(right, shared.keys))
    shared.tracking.set_alias(delays.name, CHAMPION, verdict.version)
    quick = Settings(_env_file=None, home=shared.settings.home, serving_poll_seconds=0.05)
    app = create_app(quick, {delays.name: delays}, shared.tracking, Crowded(), shared.predictions)
    with TestClient(app) as client:
        _wait(client)
        reply = client.post(f"/v1/models/{delays.name}/predictions", json=deepcopy(example(delays)))
        shown = client.get("/openapi.json").json()["components"]["schemas"]["Classified"]["properties"]
        assert "Classified" in client.get("/docs").text or "prediction" in client.get("/docs").text
    answer = reply.json()
    assert reply.status_code == 200, answer
    assert {"probability", "decision", "threshold", "value"}.isdisjoint(answer)
    assert {"prediction", "probabilities"} < set(shown)
    assert list(answer["probabilities"]) == list(CLASSES)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["prediction"] == max(CLASSES, key=answer["probabilities"].__getitem__) == "cancelled"
    logged = shared.predictions.get(answer["prediction_id"])
    assert logged is not None
    assert (logged.prediction, logged.probabilities) == (answer["prediction"], answer["probabilities"])
    assert (logged.answer, logged.threshold) == (answer["probabilities"]["cancelled"], None)
    told = explain.explain(answer["prediction_id"], shared)["prediction"]
    assert (told["prediction"], told["positive"]) == ("cancelled", None)
    monkeypatch.setattr(catalog, "model", lambda name: delays)
    for of in (None, *CLASSES):
        shares = contributions(answer["prediction_id"], shared, of=of)
        assert shares["of"] == (of or "cancelled")
        assert shares["answer"] == answer["probabilities"][shares["of"]]
        parts = [each["contribution"] for each in shares["contributions"]]
        assert shares["base"] + sum(parts) == pytest.approx(shares["answer"], abs=1e-12)
    with pytest.raises(EvergreenError, match="`of` is one of"):
        contributions(answer["prediction_id"], shared, of="early")


def _wait(client: TestClient) -> None:
    limit = time.monotonic() + 60
    while client.get("/ready").status_code != 200:
        assert time.monotonic() < limit, client.get("/v1/models").text
        time.sleep(0.05)
