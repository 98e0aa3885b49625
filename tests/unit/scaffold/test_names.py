"""Rules of names: whatever a header says, SQL, Feast, Delta and Python take what it becomes."""

import keyword
import re

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.catalog import COLUMN_NAME
from pipelines.contracts import EvergreenError
from pipelines.scaffold.names import mapped, of_model


def test_a_name_that_is_fit_stays_as_it_is() -> None:
    assert mapped(["carrier", "tailnum", "Miles_per_Gallon"]) == ["carrier", "tailnum", "Miles_per_Gallon"]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Größe (cm)", "groe_cm"), ("a__b", "a_b"), ("2nd", "column_2nd"), ("", "column_1"), ("年齢", "column_1"),
        ("select", "select_value"), ("Label", "Label_value"), ("event_timestamp", "event_timestamp_value"),
        ("class", "class_value"), ("a'; drop table x; --", "a_drop_table_x"), ("line\nbreak", "line_break"),
    ],
)  # fmt: skip
def test_a_name_that_is_not_is_mapped(header: str, name: str) -> None:
    assert mapped([header]) == [name]


def test_names_that_differ_only_in_case_are_told_apart() -> None:
    assert mapped(["Date of", "date of", "DATE OF"]) == ["date_of", "date_of_2", "date_of_3"]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=12))
@example(["None"])
def test_every_table_of_any_headers_can_be_made(headers: list[str]) -> None:
    names = mapped(headers)
    assert len({name.lower() for name in names}) == len(headers)
    assert all(re.fullmatch(COLUMN_NAME, name) and "__" not in name for name in names)
    assert not any(keyword.iskeyword(name) for name in names)
    with duckdb.connect() as connection:
        connection.execute(f"create table t ({', '.join(f'{name} integer' for name in names)})")
        connection.execute(
            f"select {', '.join(names)} from t where {names[0]} is not null order by {names[0]}"
        )


def test_no_word_of_sql_is_left_as_it_is() -> None:
    """As DuckDB lists those that it does not take wherever a column's name may stand."""
    listed = (
        "select keyword_name from duckdb_keywords() where keyword_category in ('reserved', 'type_function')"
    )
    with duckdb.connect() as connection:
        words = [word for (word,) in connection.execute(listed).fetchall()]
    assert len(words) > 90
    assert [
        word for word in words if mapped([word]) == [word] or mapped([word.upper()]) == [word.upper()]
    ] == []


@pytest.mark.parametrize(
    "name", ["", "a", "Flights", "two__parts", "tail_", "select", "labels", "x" * 41, "a-b", "../x"]
)
def test_a_models_name_that_means_something_else_is_refused(name: str) -> None:
    with pytest.raises(EvergreenError):
        of_model(name, {})


@pytest.mark.parametrize("name", ["flights", "flights_late", "bike"])
def test_a_models_files_are_not_taken_for_anothers(name: str) -> None:
    with pytest.raises(EvergreenError, match="could be taken"):
        of_model(name, {"flights": "flights_*", "bike_rentals": "bike_rentals_*"})
