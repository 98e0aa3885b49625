"""Rules of `evergreen check`: a sound model has no fault, each kind of fault is named with its file and remedy."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines import catalog
from pipelines.catalog import model_spec
from pipelines.loop import checkup, steps
from pipelines.prove.worlds import sandbox
from pipelines.settings import PROJECT
from pipelines.stores import Stores

NAME = "flight_delays"
Edit = Callable[[Path], object]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the checkout's catalog and feature repository, which the catalog reads."""
    here = tmp_path / "pipelines"
    for part in ("models", "datasets"):
        shutil.copytree(catalog.HERE / part, here / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        PROJECT / "feature_repo", tmp_path / "feature_repo", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(catalog, "HERE", here)
    monkeypatch.setattr(model_spec, "HERE", here)
    return tmp_path


def found(checkout: Path) -> list[checkup.Fault]:
    return checkup.examine(NAME, sandbox(checkout / "home", checkout / "feature_repo"))


def text(path: str, old: str, new: str) -> Edit:
    def edit(checkout: Path) -> None:
        file = checkout / path
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    return edit


def gone(path: str) -> Edit:
    return lambda checkout: (checkout / path).unlink()


MODEL = f"pipelines/models/{NAME}"
BROKEN: dict[str, tuple[Edit, str, str]] = {
    "a card that is missing": (gone(f"{MODEL}/CARD.md"), "CARD.md", "missing"),
    "an estimator that is missing": (gone(f"{MODEL}/estimator.py"), "estimator.py", "missing"),
    "an estimator without a baseline": (
        text(f"{MODEL}/estimator.py", "def baseline(", "def base("), "estimator.py:1", "baseline",
    ),
    "labels of a column that is not there": (
        text(f"{MODEL}/label.sql", "arrival_delay >= 15", "arrival_dilay >= 15"), "label.sql:", "arrival_dilay",
    ),
    "labels that a request cannot say": (
        text(f"{MODEL}/label.sql", "carrier, origin,", "carrier, origin, flight,"), "label.sql:", "flight",
    ),
    "labels without an entity": (
        text(f"{MODEL}/label.sql", "carrier, origin,", "origin,"), "label.sql", "carrier",
    ),
    "a view that is not there": (
        text(f"{MODEL}/spec.yaml", "origin_weather:*", "origin_wether:*"), "spec.yaml:", "origin_wether",
    ),
    "a feature that is not there": (
        text(f"{MODEL}/spec.yaml", "origin_weather:*", "origin_weather:heat"), "spec.yaml:", "heat",
    ),
    "a feature that answers need and is not there": (
        text(f"{MODEL}/spec.yaml", "degraded: {", "degraded: {required: ['aircraft:heat'], "), "spec.yaml:", "heat",
    ),
    "a view whose SQL does not run": (
        text("feature_repo/origin_weather.sql", "from weather", "from whether"), "origin_weather.sql", "whether",
    ),
    "a view that gives less than it declares": (
        text("feature_repo/origin_weather.py", 'Field(name="visib"', 'Field(name="sight"'),
        "origin_weather.sql", "sight",
    ),
    "a spec under another name": (
        text(f"{MODEL}/spec.yaml", f"name: {NAME}", "name: delays"), "spec.yaml:2", "name: delays",
    ),
    "a spec with an unknown key": (
        text(f"{MODEL}/spec.yaml", "owner:", "colour: red\nowner:"), "spec.yaml:", "colour",
    ),
    "a dataset that is not there": (
        text(f"{MODEL}/spec.yaml", "[flights, departures,", "[flights, arrivals,"), "spec.yaml:", "arrivals",
    ),
    "a dataset that is not sound": (
        text("pipelines/datasets/weather.yaml", "key: [origin,", "key: [nowhere,"), "spec.yaml:", "weather",
    ),
}  # fmt: skip


def test_the_model_that_ships_breaks_in_nothing(checkout: Path) -> None:
    assert [fault for fault in found(checkout) if fault.breaks] == []


@pytest.mark.parametrize("what", BROKEN)
def test_each_kind_of_fault_is_named_with_its_place_and_a_remedy(what: str, checkout: Path) -> None:
    edit, where, word = BROKEN[what]
    edit(checkout)
    faults = [fault for fault in found(checkout) if fault.breaks]
    assert any(where in fault.where and word in f"{fault.what} {fault.remedy}" for fault in faults), faults
    assert all(fault.remedy for fault in faults)


def test_a_spec_that_is_not_sound_breaks_nobody_but_itself(checkout: Path) -> None:
    other = checkout / "pipelines" / "models" / "second"
    shipped = set(catalog.models())
    shutil.copytree(checkout / MODEL, other)
    text("pipelines/models/second/spec.yaml", f"name: {NAME}", "name: second")(checkout)
    catalog._models.cache_clear()
    assert set(catalog.models()) == shipped | {"second"}
    catalog._models.cache_clear()
    spec = yaml.safe_load((other / "spec.yaml").read_text())
    (other / "spec.yaml").write_text(yaml.safe_dump(spec | {"features": ["nowhere:*"], "task": "guess"}))
    assert set(catalog.models()) == shipped
    assert "second/spec.yaml" in catalog.faults()["second"]
    (other / "spec.yaml").write_text(yaml.safe_dump(spec | {"features": ["nowhere:*"]}))
    catalog._models.cache_clear()
    stores = sandbox(checkout / "home", checkout / "feature_repo")
    assert len(stores.features.feature_names(catalog.model(NAME))) > 10
    with pytest.raises(Exception, match="evergreen check second"):
        stores.features.feature_names(catalog.model("second"))


def test_a_view_that_cannot_be_computed_stops_no_other(
    flown: Stores, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text("feature_repo/origin_weather.sql", "from weather", "from whether")(checkout)
    broken = sandbox(flown.settings.home, checkout / "feature_repo")
    monkeypatch.setattr(steps, "stores", lambda: broken)
    run = steps.features()
    assert set(run["failed"]) == {"origin_weather@v1"}
    assert "whether" in run["failed"]["origin_weather@v1"]
    assert run["rows"]["carrier_delays"] > 0
    with pytest.raises(Exception, match="origin_weather@v1"):
        steps.all_computed(run)
