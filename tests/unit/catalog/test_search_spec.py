"""Rules of what a spec says of its search, and of writing parameters into spec.yaml."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from pipelines import catalog
from pipelines.catalog import Search
from pipelines.catalog.parameters import difference, rewritten
from pipelines.contracts import EvergreenError

PARAMETERS = {"learning_rate": 0.05, "max_leaf_nodes": 31, "max_features": 0.3}
RANGE = {"low": 0.01, "high": 0.3, "log": True}


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"learning_rate": {"low": 0.3, "high": 0.1}}, "not below"),
        ({"learning_rate": {"low": 0, "high": 0.1, "log": True}}, "above 0"),
        ({"learning_rate": {"choices": [0.1]}}, "at least 2"),
        ({"learning_rate": {"lowest": 0.1, "high": 1}}, "lowest"),
        ({}, "at least 1"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(space: dict, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Search.model_validate({"space": space})


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"depth": {"low": 1, "high": 9}}, "depth: give it a value in parameters"),
        ({"learning_rate": {"low": 0.1, "high": 0.3}}, "0.05, cannot be drawn"),
        ({"max_leaf_nodes": {"choices": [15, 63]}}, "31, cannot be drawn"),
    ],
)
def test_a_search_begins_from_the_present_parameters(space: dict, told: str) -> None:
    assert told in str(Search.model_validate({"space": space}).unfit("classification", PARAMETERS))


def test_a_metric_of_another_task_is_refused() -> None:
    asked = Search.model_validate({"metric": "mae", "space": {"learning_rate": RANGE}})
    assert "no metric of classification" in str(asked.unfit("classification", PARAMETERS))


def test_every_model_of_the_catalog_can_be_searched_from_where_it_is() -> None:
    searched = [spec for spec in catalog.models().values() if spec.search]
    assert searched
    assert all(spec.search.unfit(spec.task, spec.parameters) is None for spec in searched)


def test_written_parameters_change_their_lines_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    before = "name: x\nparameters:\n  learning_rate: 0.05  # slow\n\n  max_leaf_nodes: 31\nthreshold: 0.4\n"
    path.write_text(before)
    text = rewritten(path, {"learning_rate": 1e-05, "max_leaf_nodes": 63})
    assert yaml.safe_load(text)["parameters"] == {"learning_rate": 1e-05, "max_leaf_nodes": 63}
    assert "1.0e-05  # slow\n\n" in text
    assert [line for line in text.splitlines() if "0" not in line] == [
        "name: x",
        "parameters:",
        "",
        "  max_leaf_nodes: 63",
    ]
    assert "-  max_leaf_nodes: 31\n+  max_leaf_nodes: 63\n" in difference(path, text)
    assert path.read_text() == before


def test_parameters_of_the_real_spec_are_written_so_that_it_reads_them_back(tmp_path: Path) -> None:
    real = catalog.model("flight_delays")
    path = tmp_path / "spec.yaml"
    path.write_text((real.folder / "spec.yaml").read_text())
    wanted = {**real.parameters, "learning_rate": 0.0123, "max_leaf_nodes": 7}
    path.write_text(rewritten(path, {"learning_rate": 0.0123, "max_leaf_nodes": 7}))
    again = catalog.read_spec(path, catalog.ModelSpec)
    assert again == real.model_copy(update={"parameters": wanted})


@pytest.mark.parametrize(
    "text", ["name: x\n", "parameters: {learning_rate: 0.05}\n", "parameters:\n  other: 1\n"]
)
def test_a_spec_written_otherwise_is_left_to_the_person(tmp_path: Path, text: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(EvergreenError, match="by hand"):
        rewritten(path, {"learning_rate": 0.1})
