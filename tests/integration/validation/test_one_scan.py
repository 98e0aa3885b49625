"""What one scan answers is what Great Expectations says of the same rows by its own queries, word for word."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from pipelines.validation import one_scan
from pipelines.validation.expectations import batch_of, gx

ROWS: dict[str, list[tuple[Any, ...]]] = {
    "every row is sound": [(1, 1, 2, "aa"), (2, 2, 2, "bb"), (3, 3, 5, "cc")],
    "some rows fail": [
        (1, 900, 2, "aaa"),
        (2, 2, 2, "b"),
        (3, 9, 5, "zz"),
        (4, 9, 5, "cc"),
        (5, -7, None, None),
    ],
    "values are missing": [(1, None, 2, None), (2, 5, None, None), (3, None, None, None)],
}
PAIR = {"column_A": "b", "column_B": "a", "or_equal": True}
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("expect_column_values_to_be_between", {"column": "a", "min_value": 0, "max_value": 10}),
    ("expect_column_values_to_be_between", {"column": "a", "min_value": 0, "max_value": 10, "mostly": 0.5}),
    ("expect_column_value_lengths_to_equal", {"column": "w", "value": 2}),
    ("expect_column_value_lengths_to_be_between", {"column": "w", "min_value": 1, "max_value": 2}),
    ("expect_column_values_to_be_in_set", {"column": "w", "value_set": ["aa", "bb", "cc"]}),
    ("expect_column_values_to_not_be_in_set", {"column": "w", "value_set": ["zz"]}),
    ("expect_column_values_to_not_be_null", {"column": "a"}),
    ("expect_column_values_to_be_null", {"column": "w"}),
    ("expect_column_values_to_be_unique", {"column": "a"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["a", "b"]}),
    (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {**PAIR, "ignore_row_if": "either_value_is_missing"},
    ),
    (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {**PAIR, "ignore_row_if": "both_values_are_missing"},
    ),
    ("expect_column_pair_values_to_be_equal", {"column_A": "a", "column_B": "b", "ignore_row_if": "neither"}),
    ("expect_select_column_values_to_be_unique_within_record", {"column_list": ["a", "b"]}),
    (
        "expect_select_column_values_to_be_unique_within_record",
        {"column_list": ["a", "b"], "ignore_row_if": "any_value_is_missing"},
    ),
    (
        "expect_column_values_to_be_between",
        {
            "column": "a",
            "max_value": 3,
            "row_condition": 'col("b") > 100',
            "condition_parser": "great_expectations",
        },
    ),
    (
        "expect_column_values_to_be_between",
        {
            "column": "a",
            "max_value": 3,
            "row_condition": 'col("b") < 4',
            "condition_parser": "great_expectations",
        },
    ),
    ("expect_column_values_to_be_between", {"column": "no such column", "max_value": 3}),
    ("expect_column_mean_to_be_between", {"column": "a", "min_value": 0, "max_value": 10}),
    ("expect_table_row_count_to_be_between", {"min_value": 1}),
]
FORMAT = {"unexpected_index_column_names": ["_line"], "return_unexpected_index_query": True}


@pytest.fixture(params=ROWS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with these rows."""
    found = f"duckdb:///:memory:{uuid4().hex}"
    engine = sa.create_engine(found, poolclass=StaticPool, connect_args={"config": {}})
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE landed (_line BIGINT, a BIGINT, b BIGINT, w VARCHAR)")
        for row in ROWS[request.param]:
            connection.exec_driver_sql("INSERT INTO landed VALUES (?, ?, ?, ?)", row)
        connection.commit()
        yield found
    engine.dispose()


def said(url: str, kind: str) -> list[dict[str, Any]]:
    """Each expectation's result, by itself all of it that a report may show."""
    suite = gx().ExpectationSuite(
        name="asked", expectations=[{"type": name, "kwargs": kwargs} for name, kwargs in ASKED]
    )
    with batch_of(url, {}, "landed") as batch:
        outcome = batch.validate(suite, result_format={**FORMAT, "result_format": kind})
        found = [result.to_json_dict() for result in outcome.results]
    for result in found:
        result["expectation_config"]["kwargs"].pop("batch_id", None)
        for raised in (result["exception_info"], *result["exception_info"].values()):
            if isinstance(raised, dict):
                raised.pop("exception_traceback", None)
    return found


class Alone:
    """Great Expectations left alone."""

    def __init__(self, execution: Any) -> None:
        self.resolve_metrics = execution.resolve_metrics


@pytest.mark.parametrize("kind", ["SUMMARY", "COMPLETE"])
def test_great_expectations_says_the_same_with_one_scan_and_alone(
    url: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = said(url, kind)
    monkeypatch.setattr(one_scan, "OneScan", Alone)
    alone = said(url, kind)
    assert len(ours) == len(ASKED)
    for mine, theirs in zip(ours, alone, strict=True):
        assert told(mine) == told(theirs)


def told(result: dict[str, Any]) -> str:
    """A result as text, values by their type and digits; GX puts several errors in no order."""
    return json.dumps(result, sort_keys=True, default=repr)


def test_rows_that_nothing_fails_are_scanned_once_for_all_rules(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    asked = count_queries(monkeypatch, request)
    assert sum("count(*) FILTER" in query for query in asked) == 1
    assert not [
        query for query in asked if "unexpected_values" in query or "UnexpectedCountSubquery" in query
    ]


def count_queries(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> list[str]:
    """What the database is asked about three sound rows by rules that they keep."""
    from great_expectations.execution_engine import SqlAlchemyExecutionEngine as Engine

    asked: list[str] = []
    ask = Engine.execute_query

    def execute_query(self: Any, query: Any) -> Any:
        asked.append(str(query))
        return ask(self, query)

    monkeypatch.setattr(Engine, "execute_query", execute_query)
    monkeypatch.setattr(f"{__name__}.ASKED", [ASKED[n] for n in (0, 4, 10, 14)])
    found = f"duckdb:///:memory:{uuid4().hex}"
    engine = sa.create_engine(found, poolclass=StaticPool, connect_args={"config": {}})
    request.addfinalizer(engine.dispose)
    with engine.connect() as connection:
        values = "(1, 1, 2, 'aa'), (2, 2, 3, 'bb')"
        connection.exec_driver_sql(f"CREATE TABLE landed AS FROM (VALUES {values}) t(_line, a, b, w)")
        connection.commit()
        results = said(found, "SUMMARY")
    assert [result["success"] for result in results] == [True] * 4
    return asked
