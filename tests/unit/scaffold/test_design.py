"""Rules of what is decided of a table: its answer, its time, whose history it is, and what tells too much."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.contracts import EvergreenError
from pipelines.scaffold.design import Design
from tests.own_tables import decided, flowers, orders, series


def _parts(made: Design) -> dict[str, str]:
    return {column.facts.header: column.role for column in made.columns}


def test_events_of_shops_have_a_time_a_key_and_an_answer(tmp_path: Path) -> None:
    made = decided(orders(), tmp_path)
    assert _parts(made) == {
        "order no": "unused", "shop id": "key", "ordered at": "time", "amount (€)": "asked", "channel": "asked",
        "returned": "answer",
    }  # fmt: skip
    assert (made.answer.task, made.answer.positive) == ("classification", "yes")
    assert made.row_key == ("shop_id", "ordered_at")
    assert made.horizon == timedelta(minutes=1)


def test_a_series_is_forecast_a_step_ahead_from_its_past_alone(tmp_path: Path) -> None:
    made = decided(series(), tmp_path)
    assert made.forecast
    assert made.series
    assert made.horizon == timedelta(days=1)
    assert timedelta(days=7) in made.seasons


def test_with_a_horizon_what_varies_is_not_known_and_only_its_past_is_used(tmp_path: Path) -> None:
    made = decided(orders(), tmp_path, horizon=timedelta(hours=6))
    parts = _parts(made)
    assert parts["amount (€)"] == "history"
    assert parts["channel"] == "unused"


def test_without_a_time_rows_have_made_up_ones_and_a_name_each(tmp_path: Path) -> None:
    made = decided(flowers(), tmp_path, positive="setosa")
    assert made.clock is None
    assert made.added == ["row_id", "recorded_at"]
    assert "random sample" in made.reasons["time"][1]


def test_three_classes_are_told_apart_in_their_order_and_one_of_them_against_the_rest_if_said(
    tmp_path: Path,
) -> None:
    made = decided(flowers(), tmp_path)
    assert (made.answer.task, made.answer.classes) == ("multiclass", ("o'hara; --", "setosa", "virginica"))
    assert sum(made.sizes.shares) == pytest.approx(1)
    assert made.sizes.class_rows >= 20
    assert decided(flowers(), tmp_path, positive="setosa").answer.task == "classification"


def test_whole_numbers_are_classes_where_they_are_few_or_where_it_is_said(tmp_path: Path) -> None:
    frame = flowers(2000)
    frame["grade"] = np.arange(len(frame)) % 15 + 1.0
    with_grade = frame.drop(columns="species")
    assert decided(with_grade, tmp_path, label="grade").answer.task == "regression"
    made = decided(with_grade, tmp_path, label="grade", task="multiclass")
    assert made.answer.classes == tuple(range(1, 16))
    assert made.answer.sql("grade") == "cast(grade as bigint)"
    few = with_grade.assign(grade=with_grade["grade"].clip(upper=4).astype(int))
    assert decided(few, tmp_path, label="grade").answer.classes == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("kinds", "rare", "why"),
    [
        (21, 0, r"has 21 values.*up to 20 classes.*--positive VALUE"),
        (3, 19, r"classes of too few rows: k0 \(19\); 20"),
    ],
)
def test_too_many_classes_and_too_few_rows_of_one_are_refused_with_what_would_do(
    kinds: int, rare: int, why: str, tmp_path: Path
) -> None:
    frame = flowers(1000)
    frame["species"] = [f"k{n % kinds}" for n in range(len(frame))]
    if rare:
        mine = np.flatnonzero(frame["species"] == "k0")
        frame = frame.drop(index=mine[rare:])
    with pytest.raises(EvergreenError, match=why):
        decided(frame, tmp_path)


def test_a_column_in_whose_order_the_classes_follow_each_other_tells_the_answer(tmp_path: Path) -> None:
    frame = flowers()
    order = frame["species"].map({"setosa": 0.0, "o'hara; --": 1.0, "virginica": 2.0})
    frame.insert(0, "score", order + np.random.default_rng(3).uniform(0, 0.9, len(frame)).round(4))
    made = decided(frame, tmp_path)
    parts = _parts(made)
    assert parts["score"] == "unused"
    assert {parts["petal"], parts["sepal"]} == {"asked"}


def test_a_value_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match="takes one of"):
        decided(flowers(), tmp_path, positive="rose")


@pytest.mark.parametrize(
    ("name", "leak"),
    [
        ("copy", lambda d: (d["returned"] == "yes").astype(int)),
        ("words", lambda d: d["returned"].map({"yes": "sent back", "no": "kept"})),
        ("score", lambda d: (d["returned"] == "yes") * 10.0 + d["amount (€)"] / 1000),
        ("refund", lambda d: d["amount (€)"].where(d["returned"] == "yes")),
        ("closed", lambda d: (pd.to_datetime(d["ordered at"]) + pd.Timedelta(days=3)).dt.strftime("%Y-%m-%d %H:%M")),
    ],
)  # fmt: skip
def test_a_column_that_tells_the_answer_is_left_out_with_the_reason(
    tmp_path: Path, name: str, leak: object
) -> None:
    table = orders()
    table.insert(0, name, leak(table))  # type: ignore[operator]
    (column,) = [c for c in decided(table, tmp_path, time="ordered at").columns if c.facts.header == name]
    assert column.role == "unused"
    assert column.why.startswith("leaks: ")


def test_the_parts_of_a_total_are_left_out(tmp_path: Path) -> None:
    dice = np.random.default_rng(3)
    table = pd.DataFrame(
        {"casual": dice.poisson(20, 500), "registered": dice.poisson(90, 500), "heat": dice.normal(size=500)}
    )
    table["count"] = table["casual"] + table["registered"]
    parts = {c.facts.header: (c.role, c.why) for c in decided(table, tmp_path, time="none").columns}
    assert parts["casual"][0] == parts["registered"][0] == "unused"
    assert "a sum of" in parts["casual"][1]
    assert parts["heat"][0] == "asked"


def test_too_few_rows_are_refused_by_number(tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match=r"60 rows .* need 100"):
        decided(orders(60), tmp_path)


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match=r"--label: there is no column 'gone'; there are: 'order no'"):
        decided(orders(), tmp_path, label="gone")


def test_rows_of_a_time_that_nobody_keeps_are_left_out_and_told(tmp_path: Path) -> None:
    table = series(900)
    table["day"] = [f"{1700 + n // 3}-0{1 + n % 3}-01" for n in range(900)]
    made = decided(table, tmp_path, time="day")
    assert made.span[0].year == 1900
    assert any("are not from 1900 to 2100" in note for note in made.notes)


@pytest.mark.parametrize(
    ("header", "first", "step"),
    [("YEAR", 1910, 1), ("timestamp", 1_700_000_000, 3600), ("ts", 1_700_000_000_000, 60_000)],
)
def test_whole_numbers_that_are_called_times_and_look_like_them_are_times(
    tmp_path: Path, header: str, first: int, step: int
) -> None:
    chance = np.random.default_rng(0)
    table = pd.DataFrame(
        {"spots": chance.normal(50, 9, 180).cumsum(), header: range(first, first + 180 * step, step)}
    )
    made = decided(table, tmp_path)
    assert _parts(made) == {"spots": "answer", header: "time"}
    assert made.forecast


def test_whole_numbers_of_another_name_are_no_times(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    table = pd.DataFrame({"price": chance.integers(1200, 2000, 300), "sold": chance.normal(size=300)})
    assert decided(table, tmp_path).clock is None


def test_a_table_in_which_nothing_tells_the_answer_is_refused_with_what_would(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": range(300), "height": np.random.default_rng(0).normal(size=300)})
    with pytest.raises(EvergreenError, match=r"nothing is left.*'id': it numbers the rows.*--time"):
        decided(table, tmp_path)


def test_whole_numbers_of_which_some_are_rare_count_something(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    age = chance.normal(50, 9, 900)
    visits = np.minimum(chance.poisson(age / 40), 7)
    assert 3 <= len(np.unique(visits)) <= 10
    assert decided(pd.DataFrame({"age": age, "visits": visits}), tmp_path).answer.task == "regression"
    few = np.minimum(visits, 2)
    assert decided(pd.DataFrame({"age": age, "visits": few}), tmp_path).answer.task == "multiclass"
