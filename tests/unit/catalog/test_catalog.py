"""Rules of the catalog: one place per fact, and errors that say where and how to mend."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from pipelines import catalog
from pipelines.catalog.types import duration
from pipelines.contracts import EvergreenError
from pipelines.serving.schemas import example, request_model

SPECS = sorted((catalog.HERE / "datasets").glob("*.yaml"))


def test_every_dataset_of_the_catalog_is_named_as_its_file() -> None:
    assert SPECS
    assert {path.stem for path in SPECS} == set(catalog.datasets())


def test_every_model_of_the_catalog_is_named_as_its_folder() -> None:
    assert catalog.models()
    for name, spec in catalog.models().items():
        assert spec.folder.name == name
        assert spec.label_sql.strip()


def test_an_unknown_key_is_refused_with_file_line_and_remedy(tmp_path: Path) -> None:
    broken = tmp_path / "flights.yaml"
    broken.write_text(SPECS[0].read_text() + "colour: red\n")
    line = len(broken.read_text().splitlines())
    with pytest.raises(
        EvergreenError, match=rf"flights.yaml:{line}: colour: .*remove it or mend its spelling"
    ):
        catalog.read_spec(broken, catalog.DatasetSpec)


def test_a_file_that_is_not_utf_8_is_refused_as_that(tmp_path: Path) -> None:
    broken = tmp_path / "x.yaml"
    broken.write_bytes("name: Köln\n".encode("latin-1"))
    with pytest.raises(EvergreenError, match=r"x.yaml:1: it is not UTF-8 \(byte 7\); save it as UTF-8"):
        catalog.read_spec(broken, catalog.DatasetSpec)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "x.yaml"
    broken.write_text("name: x\n")
    with pytest.raises(EvergreenError, match="pattern: Field required; add it"):
        catalog.read_spec(broken, catalog.DatasetSpec)


def test_a_key_that_names_no_column_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "x.yaml"
    broken.write_text(SPECS[0].read_text().replace("key: [faa]", "key: [nowhere]"))
    assert "nowhere" in broken.read_text()
    with pytest.raises(EvergreenError, match="nowhere"):
        catalog.read_spec(broken, catalog.DatasetSpec)


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(EvergreenError, match="flight_delays"):
        catalog.model("flight_delay")


@pytest.mark.parametrize(("text", "value"), [("90m", timedelta(minutes=90)), ("7d", timedelta(days=7))])
def test_durations_are_numbers_with_a_unit(text: str, value: timedelta) -> None:
    assert duration(text) == value


def test_a_duration_without_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="30m, 36h or 7d"):
        duration("90")


def _spec(**changes: object) -> dict[str, object]:
    text = (catalog.HERE / "models" / "flight_delays" / "spec.yaml").read_text()
    return yaml.safe_load(text) | changes


def test_a_model_may_know_its_request_alone() -> None:
    alone = catalog.ModelSpec.model_validate(_spec(entities={}, features=[]))
    assert alone.features == ()
    assert request_model(alone).model_validate({"request": example(alone)["request"]})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entities": {}}, "features are looked up by entities"),
        ({"features": [], "request": {}}, "without features and request nothing is known"),
    ],
)
def test_a_model_that_could_know_nothing_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        catalog.ModelSpec.model_validate(_spec(**changes))


@pytest.mark.parametrize("header", ["faa", "Name of it"])
def test_a_header_names_one_column(tmp_path: Path, header: str) -> None:
    broken = tmp_path / "airports.yaml"
    text = (catalog.HERE / "datasets" / "airports.yaml").read_text()
    for name in ("lat", "lon"):
        text = text.replace(f"  {name}: {{", f"  {name}: {{header: {header}, ")
    broken.write_text(text)
    with pytest.raises(EvergreenError, match="names two columns"):
        catalog.read_spec(broken, catalog.DatasetSpec)


def test_a_question_may_say_when_its_event_is_under_a_name_of_its_own(tmp_path: Path) -> None:
    """An hour of many flights is the event then, and not one flight's departure."""
    hours = catalog.model("airport_hours")
    assert catalog.event_time(hours) == "hour" != catalog.dataset(hours.label.dataset).event_time
    assert catalog.event_time(catalog.model("flight_delays")) == catalog.dataset("flights").event_time
    for name in ("scheduled_departure", "origin"):
        broken = tmp_path / "spec.yaml"
        broken.write_text(
            (hours.folder / "spec.yaml").read_text().replace("event_time: hour", f"event_time: {name}")
        )
        with pytest.raises(
            EvergreenError, match=rf"label.event_time: {name} is no timestamp under `request`; add it"
        ):
            catalog.read_spec(broken, catalog.ModelSpec)


def test_what_models_share_is_told_of_each_view_and_dataset() -> None:
    assert catalog.models_with("origin_weather") == ("airport_hours", "flight_delays")
    assert catalog.models_with("origin_hours") == ("airport_hours",)
    assert catalog.models_with("nowhere") == ()
    assert catalog.models_on("departures") == ("airport_hours", "flight_delays")
    assert catalog.models_on("planes") == ("flight_delays",)
