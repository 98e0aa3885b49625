"""What training, gate and promotion tell of a version: what it was made of, what the rules saw, who answers now."""

from typing import Any

import pytest

from pipelines import catalog
from pipelines.loop import steps
from pipelines.record.openlineage.told import told
from tests.retrainings import MODEL, NOW, land, plan, train
from tests.training_sets import spec


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    made = spec()
    monkeypatch.setattr(catalog, "model", lambda name: made)


def said(found: Any, key: str) -> str:
    return {each["key"]: each["value"] for each in found.run["tags"]["tags"]}[f"evergreen_{key}"]


def test_a_version_is_told_from_its_rows_to_the_champion(small: None) -> None:
    stores = steps.stores()
    land(stores, "first")
    planned = plan()
    candidate, rows = train(stores, planned)
    made = told("train", [MODEL, rows, planned], candidate, stores)
    assert [each["name"] for each in made.inputs] == [rows["path"]]
    assert [(each["namespace"], each["name"]) for each in made.outputs] == [("mlflow", MODEL)]
    assert made.outputs[0]["facets"]["version"] == {"datasetVersion": str(candidate["version"])}
    assert said(made, "model_digest") == candidate["digest"]
    verdict = steps.evaluate(MODEL, candidate, rows)
    judged = told("evaluate", [MODEL, candidate, rows], verdict, stores)
    assert [each["name"] for each in judged.inputs] == [rows["path"], MODEL]
    assert said(judged, "verdict") == verdict["decision"] == "PASS"
    assert {each["name"] for each in judged.run["test"]["tests"]} == {r["name"] for r in verdict["rules"]}
    assert {each["status"] for each in judged.run["test"]["tests"]} == {"pass"}
    answer = steps.promote(MODEL, candidate["version"], now=NOW.isoformat())
    moved = told("promote", [MODEL, candidate["version"]], answer, stores)
    assert [each["name"] for each in moved.outputs] == [f"{MODEL}@champion"]
    assert said(moved, "promoted") == "True"
