"""Rules of a model that answers with a number of its own unit: trained, asked where it serves, and served."""

import time
from copy import deepcopy
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from fastapi.testclient import TestClient
from rich.console import Console

from pipelines import catalog, models
from pipelines.catalog import ModelSpec
from pipelines.cli.tables import scores, trained
from pipelines.contracts import Decision, EvergreenError, TrainingSet, as_json
from pipelines.gate import opened
from pipelines.gate.rules import serving
from pipelines.monitoring.decay import at_gate, decay
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
ESTIMATOR = f'''
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline


def build(parameters):
    keep = ColumnTransformer([("numbers", "passthrough", ["distance", "{FEATURE}"])])
    return Pipeline([("keep", keep), ("boosting", HistGradientBoostingRegressor(max_iter=20, random_state=0))])


def baseline():
    return DummyRegressor()
'''


@pytest.fixture
def minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """flight_delays as a regression of minutes, its estimator here and in the probe another."""
    import sys

    home = tmp_path / "elsewhere"
    own = home / "models" / "flight_delays"
    own.mkdir(parents=True)
    (own / "__init__.py").touch()
    (own / "estimator.py").write_text(ESTIMATOR)
    (home / "sitecustomize.py").write_text(
        f"import pipelines.models\npipelines.models.__path__.insert(0, {str(home / 'models')!r})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(home))
    monkeypatch.setattr(models, "__path__", [str(home / "models"), *models.__path__])
    for name in [n for n in sys.modules if n.startswith("pipelines.models.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(models, "flight_delays", raising=False)
    return _regression()


def _regression(**decay: object) -> ModelSpec:
    plain = yaml.safe_load((catalog.model("flight_delays").folder / "spec.yaml").read_text())
    plain.pop("search", None)
    plain["monitor"]["decay"] = {"margin": 1.0, **decay}
    plain["training"]["minimum_rows"] = 200
    limits = {"questions": 30, "p99_ms": 5000}
    gate = {"floors": {"r2": 0.1}, "minimum_rows": 200, "serving": limits}
    return ModelSpec.model_validate({**plain, "task": "regression", "parameters": {}, "gate": gate})


@pytest.fixture
def rows(tmp_path: Path) -> TrainingSet:
    """Flights whose delay in minutes follows one feature; most labels are neither 0 nor 1."""
    data = frame(1500, 0, 2.0)
    noise = np.random.default_rng(1).normal(size=len(data))
    data["label"] = 20 * data[FEATURE] + noise - 5
    path = tmp_path / "minutes.parquet"
    data.to_parquet(path, index=False)
    learned = int((data.split == "train").sum())
    return TrainingSet(
        "flight_delays", AS_OF, "m" * 64, str(path), learned, None, AS_OF, len(data) - learned,
        content=file_digest(path),
    )  # fmt: skip


def test_a_regression_is_trained_whatever_its_labels_add_up_to_and_says_what_it_takes(
    minutes: ModelSpec, rows: TrainingSet, stores: Stores
) -> None:
    assert rows.positives is None
    made = train(minutes, rows, stores)
    version = stores.tracking.version(minutes.name, made.version)
    fitted = stores.tracking.fitted(version)
    assert not hasattr(fitted, "predict_proba")
    assert FEATURE in stores.tracking.inputs(version)
    assert np.isfinite(stores.tracking.load_baseline(version).predict(pd.DataFrame({"x": [1.0]}))).all()


def test_a_regressions_decay_is_judged_by_its_own_loss(
    minutes: ModelSpec, rows: TrainingSet, stores: Stores
) -> None:
    """Minutes that follow the feature as before are no decay; minutes that come out twice as long are."""
    assert minutes.monitor.decay.metric == "mae"
    made = train(minutes, rows, stores)
    version = stores.tracking.version(minutes.name, made.version)
    fitted = stores.tracking.fitted(version)
    held = pd.read_parquet(rows.path).query("split == 'holdout'")
    later = held.assign(event_timestamp=held["event_timestamp"] + pd.Timedelta(days=7))
    times = {"as before": later, "longer": later.assign(label=later["label"] * 2 + 20)}
    kept = stores.settings.home / "training_sets" / minutes.name / f"{rows.digest}.parquet"
    kept.parent.mkdir(parents=True, exist_ok=True)
    pd.read_parquet(rows.path).to_parquet(kept, index=False)
    lenient = minutes.monitor.decay.model_copy(update={"minimum_rows": 50, "minimum_days": 2})
    judged = minutes.model_copy(update={"monitor": minutes.monitor.model_copy(update={"decay": lenient})})
    gate = at_gate(judged, version, fitted, stores)
    found = {name: decay(judged, version, fitted, each, gate) for name, each in times.items()}
    assert not found["as before"].decayed
    assert found["longer"].decayed
    assert "mae" in found["longer"].explanation


def test_a_loss_of_another_task_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"log_loss is no loss of a regression; use mae"):
        _regression(metric="log_loss")


def test_a_person_reads_no_positives_of_a_regression(rows: TrainingSet) -> None:
    metrics = {"candidate": {"r2": 0.9, "mae": 3.0, "rows": 10.0}}
    console = Console(width=200, file=StringIO())
    console.print(scores(metrics))
    made = {"model": "m", "version": 1, "as_of": "", "digest": "", "run_id": ""}
    console.print(trained({"candidate": made, "training_set": as_json(rows)}))
    said = console.file.getvalue()
    assert "mae" in said
    assert "r2" in said
    assert "rows" in said
    assert "positive" not in said


def test_a_regression_is_asked_where_it_serves_and_answers_as_the_gate_was_answered(
    minutes: ModelSpec, rows: TrainingSet, stores: Stores
) -> None:
    case = opened(minutes, train(minutes, rows, stores).version, rows, stores, NOW)
    rules = {rule.name: rule for rule in serving.check(case)}
    assert len(rules) == 9
    assert {rule.decision for rule in rules.values()} == {Decision.PASS}, rules
    assert abs(case.answers["candidate"]).max() > 1


class NoFeatures(OneByOne):
    def online(self, names: Any, *_: Any) -> Online:
        return Online(dict.fromkeys(names, 1.5), {})

    def feature_names(self, spec: ModelSpec) -> list[str]:
        return [FEATURE]


def test_a_regression_is_served_with_its_value_and_no_decision_and_logged(
    minutes: ModelSpec, rows: TrainingSet, stores: Stores
) -> None:
    made = train(minutes, rows, stores)
    version = stores.tracking.version(minutes.name, made.version)
    right = Licence(minutes.name, made.version, made.digest, "PASS", "", "a test", NOW)
    stores.tracking.tag(minutes.name, made.version, licensed(right, stores.keys))
    stores.tracking.set_alias(minutes.name, CHAMPION, made.version)
    quick = Settings(_env_file=None, home=stores.settings.home, serving_poll_seconds=0.05)
    app = create_app(
        quick,
        {minutes.name: minutes},
        stores.tracking,
        NoFeatures(),
        stores.predictions,
        backgrounds=lambda *_: stores.tracking.background(version),
    )
    with TestClient(app) as client:
        _wait(client)
        shares = client.post(
            f"/v1/models/{minutes.name}/explanations", json=deepcopy(example(minutes))
        ).json()
        reply = client.post(f"/v1/models/{minutes.name}/predictions", json=deepcopy(example(minutes)))
        shown = client.get("/openapi.json").json()["components"]["schemas"]
    answer = reply.json()
    assert reply.status_code == 200, answer
    assert {"probability", "decision", "threshold"}.isdisjoint(answer)
    assert {"probability", "decision"}.isdisjoint(shown["Value"]["properties"])
    logged = stores.predictions.get(answer["prediction_id"])
    assert logged is not None
    assert (logged.answer, logged.threshold) == (answer["value"], None)
    assert answer["value"] > 1
    assert (shares["unit"], shares["answer"]) == ("value", answer["value"])
    parts = [each["contribution"] for each in shares["contributions"]]
    assert shares["base"] + sum(parts) == pytest.approx(answer["value"], abs=1e-9)
    assert stores.tracking.version(minutes.name, made.version).digest == version.digest
    assert isinstance(logged.asked_at, datetime)


def _wait(client: TestClient) -> None:
    limit = time.monotonic() + 60
    while client.get("/ready").status_code != 200:
        assert time.monotonic() < limit, client.get("/v1/models").text
        time.sleep(0.05)


def test_a_classification_of_one_class_is_still_refused(rows: TrainingSet, stores: Stores) -> None:
    with pytest.raises(EvergreenError, match="one class"):
        train(
            catalog.model("flight_delays").model_copy(update={"training": _regression().training}),
            rows,
            stores,
        )
