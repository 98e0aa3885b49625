"""What a stage's task asks for is what Kubernetes understands, or is refused with line and remedy."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipelines.catalog import ModelSpec, Need, Resources, read_spec
from pipelines.contracts import EvergreenError
from pipelines.settings import PROJECT

SPEC = PROJECT / "pipelines" / "models" / "flight_delays" / "spec.yaml"


def counted(quantity: str) -> Decimal:
    """How Kubernetes reads a number of processors: m is a thousandth."""
    return Decimal(quantity[:-1]) / 1000 if quantity.endswith("m") else Decimal(quantity)


@given(st.integers(1, 10**6))
def test_processors_mean_the_same_however_they_are_written(thousandths: int) -> None:
    said = Decimal(thousandths) / 1000
    forms = [f"{thousandths}m", str(said), float(said), *([int(said)] if said % 1 == 0 else [])]
    needs = [Need(cpu=form, memory="1Gi") for form in forms]  # type: ignore[arg-type]
    assert {counted(need.cpu) for need in needs} == {said}


@pytest.mark.parametrize("cpu", [0, -1, True, None, "", "two", "1.5m", "0m", 0.0001, float("nan"), "inf"])
def test_what_is_no_number_of_processors_is_refused(cpu: object) -> None:
    with pytest.raises(ValueError, match=r"processors such as 2, 0.5 or 500m"):
        Need(cpu=cpu, memory="1Gi")  # type: ignore[arg-type]


@pytest.mark.parametrize("memory", [4, "4", "512m", "0Gi", "4 Gi", "4GB", "4gi", "-1Gi", True, None, "1e3Mi"])
def test_memory_without_a_unit_that_means_what_people_mean_is_refused(memory: object) -> None:
    with pytest.raises(ValueError, match="memory with its unit such as 512Mi or 4Gi"):
        Need(cpu=1, memory=memory)  # type: ignore[arg-type]


def written(folder: Path, resources: object) -> Path:
    path = folder / "spec.yaml"
    path.write_text(SPEC.read_text() + yaml.safe_dump({"resources": resources}))
    return path


def test_a_spec_says_what_each_of_its_stages_takes(tmp_path: Path) -> None:
    spec = read_spec(written(tmp_path, {"train": {"cpu": 2, "memory": "4Gi"}}), ModelSpec)
    assert spec.resources.train is not None
    assert spec.resources.train.requirements == {
        "requests": {"cpu": "2", "memory": "4Gi"},
        "limits": {"memory": "4Gi"},
    }
    assert [name for name in Resources.model_fields if getattr(spec.resources, name)] == ["train"]


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (
            {"trian": {"cpu": 2, "memory": "4Gi"}},
            "resources.trian: Extra inputs are not permitted; remove it or",
        ),
        ({"train": {"cpu": 2}}, "resources.train.memory: Field required; add it"),
        (
            {"train": {"cpu": 2, "memory": 4}},
            "resources.train.memory: Value error, 4 is no memory with its unit",
        ),
        (
            {"train": {"cpu": 2, "memory": "4Gi", "gpu": 1}},
            "resources.train.gpu: Extra inputs are not permitted",
        ),
    ],
)
def test_a_stage_or_amount_that_nobody_knows_is_refused_with_its_line(
    tmp_path: Path, resources: object, said: str
) -> None:
    path = written(tmp_path, resources)
    line = SPEC.read_text().count("\n") + 2
    with pytest.raises(EvergreenError) as caught:
        read_spec(path, ModelSpec)
    place, _, rest = str(caught.value).removeprefix(f"{path}:").partition(": ")
    assert int(place) >= line
    assert said in rest


def test_the_published_schema_takes_and_refuses_as_the_types_do() -> None:
    whole = json.loads((PROJECT / "docs" / "reference" / "spec.schema.json").read_text())
    schema = Draft202012Validator({"$ref": "#/$defs/Need", "$defs": whole["$defs"]})
    for cpu in (2, 0.5, "500m", "2", "1.5"):
        assert schema.is_valid({"cpu": cpu, "memory": "1.5Gi"}), cpu
    for wrong in (
        {"cpu": 0, "memory": "1Gi"},
        {"cpu": "two", "memory": "1Gi"},
        {"cpu": 1, "memory": "512m"},
        {"cpu": 1},
    ):
        assert not schema.is_valid(wrong), wrong
