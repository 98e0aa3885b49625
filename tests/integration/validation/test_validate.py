"""Great Expectations judges: rows, whole batches, warnings, and suites that are broken themselves."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.catalog import dataset, datasets
from pipelines.contracts import EvergreenError
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from pipelines.validation.validate import load_suite
from tests.staged import read, validated

DATA = Path(__file__).parents[2] / "data"
FLIGHTS = dataset("flights")


def flights(**change: object) -> pa.Table:
    """Thirty real flights; each change sets the first row's value."""
    table = read(DATA / "flights_good.csv", FLIGHTS).table
    for name, value in change.items():
        values = [value, *table[name].to_pylist()[1:]]
        table = table.set_column(
            table.schema.get_field_index(name), name, pa.array(values, table.schema.field(name).type)
        )
    return table


def test_every_dataset_has_a_suite_that_great_expectations_reads_whole() -> None:
    assert datasets()
    for spec in datasets().values():
        suite = load_suite(spec, PROJECT / "expectations")
        assert suite.name == spec.name
        assert len(suite.expectations) >= 4
    suites = {path.stem for path in (PROJECT / "expectations").glob("*.json")}
    assert suites == set(datasets())


def test_real_flights_pass_and_leave_a_report(stores: Stores) -> None:
    found, bad = validated(FLIGHTS, flights(), stores)
    assert (bad, found.failing, found.blocked, found.warnings) == ({}, 0, None, ())
    page = Path(found.report or "")
    assert "Passed" in page.read_text()
    assert "name=viewport" in page.read_text()
    assert "prefers-color-scheme:dark" in page.read_text()
    summary = json.loads(page.with_suffix(".json").read_text())
    assert summary["batch"] == "abc"
    assert all(result["success"] for result in summary["expectations"])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"origin": "BOS"}, "expect_column_values_to_be_in_set(origin)"),
        ({"carrier": "ABC"}, "expect_column_value_lengths_to_equal(carrier)"),
        ({"distance": 0}, "expect_column_values_to_be_between(distance)"),
        ({"departure_delay": 4000}, "expect_column_values_to_be_between(departure_delay)"),
    ],
)
def test_a_row_that_breaks_a_row_rule_is_named_by_its_line(
    stores: Stores, change: dict[str, object], rule: str
) -> None:
    found, bad = validated(FLIGHTS, flights(**change), stores)
    assert (found.blocked, found.failing, set(bad)) == (None, 1, {2})
    assert bad[2].rule == rule
    assert str(next(iter(change.values()))) in bad[2].reason


def test_a_flight_that_ends_where_it_began_is_refused_and_its_airports_are_named(stores: Stores) -> None:
    origin = flights()["origin"][0].as_py()
    _, found = validated(FLIGHTS, flights(dest=origin), stores)
    [(line, bad)] = found.items()
    assert (line, bad.rule) == (2, "expect_select_column_values_to_be_unique_within_record(origin, dest)")
    assert f"origin = {origin}, dest = {origin}: no flight ends where it began" in bad.reason


def test_an_outcome_known_before_departure_is_refused(stores: Stores) -> None:
    table = flights()
    early = table["scheduled_departure"][0].as_py().replace(year=2012)
    _, found = validated(FLIGHTS, flights(available_at=early), stores)
    assert [bad.rule for bad in found.values()] == [
        "expect_column_pair_values_a_to_be_greater_than_b(available_at, scheduled_departure)"
    ]


def test_a_fault_of_the_whole_blocks_the_batch_and_names_what_was_seen(stores: Stores) -> None:
    spec = dataset("departures")
    table = flights().select([*(set(spec.columns) & set(FLIGHTS.columns)), "_line"])
    silent = table.set_column(table.schema.get_field_index("tailnum"), "tailnum", pa.nulls(30, pa.string()))
    assert validated(spec, table, stores)[0].blocked is None
    found, _ = validated(spec, silent, stores)
    assert found.blocked is not None
    assert "expect_column_proportion_of_non_null_values_to_be_between(tailnum) saw 0" in found.blocked
    assert "Blocked" in Path(found.report or "").read_text()


def test_a_warning_blocks_nothing(stores: Stores) -> None:
    table = flights()
    index = table.schema.get_field_index("tailnum")
    found, bad = validated(FLIGHTS, table.set_column(index, "tailnum", pa.nulls(30, pa.string())), stores)
    assert (found.blocked, bad) == (None, {})
    assert len(found.warnings) == 1


def test_a_missing_or_broken_suite_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match=r"flights\.json"):
        load_suite(FLIGHTS, tmp_path)
    (tmp_path / "flights.json").write_text(
        '{"name": "flights", "expectations": [{"type": "expect_nonsense", "kwargs": {}}]}'
    )
    with pytest.raises(EvergreenError, match=r"flights\.json"):
        load_suite(FLIGHTS, tmp_path)
