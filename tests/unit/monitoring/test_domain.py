"""Rules of the domain classifier: what columns say together is told, ordinary weeks are not, no day is on two sides."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import DomainFinding
from pipelines.monitoring.drift import kept
from pipelines.monitoring.drift.classifier import FOLDS, Sides, classified, folds, sides
from pipelines.monitoring.drift.domain import LEAST_PAST, Rows, Shape, in_words, judged, past, shape
from pipelines.monitoring.drift.reference import made
from pipelines.monitoring.drift.rows import sketched
from pipelines.monitoring.drift.verdict import look

KINDS = {"x": "numeric", "y": "numeric", "z": "numeric", "w": "categorical"}
LEARNED, A_DAY = 70, 60


def frame(first: int, last: int, seed: int, tied: float = 0.0, **moved: float) -> pd.DataFrame:
    """Rows of some days: x and y with a correlation, z, and w of four levels; `moved` shifts a column."""
    draw = np.random.default_rng(seed)
    day = np.repeat(np.arange(first, last), A_DAY)
    values = {name: draw.normal(size=len(day)) for name in ("x", "y", "z")}
    values["y"] = tied * values["x"] + np.sqrt(1 - tied**2) * values["y"]
    values |= {name: values[name] + by for name, by in moved.items()}
    time = pd.Timestamp(0, tz="UTC") + pd.to_timedelta(day * 24 + 9, unit="h")
    return pd.DataFrame({**values, "w": draw.choice(list("abcd"), len(day)), "event_timestamp": time})


def rows(of: pd.DataFrame) -> Rows:
    days = (of.event_timestamp - pd.Timestamp(0, tz="UTC")).dt.days.to_numpy()
    return Rows(days, of.drop(columns="event_timestamp").iloc.__getitem__)


OLD = frame(0, LEARNED, 0)


@pytest.fixture(scope="module")
def ordinary() -> tuple[float, ...]:
    return past(rows(OLD), KINDS, Shape(7, 200))


def finding(new: pd.DataFrame, before: tuple[float, ...], size: int = 200) -> DomainFinding:
    return judged(rows(OLD), rows(new), KINDS, Shape(7, size), before)


def test_quiet_weeks_are_told_no_oftener_than_their_rank_says(ordinary: tuple[float, ...]) -> None:
    """One of eleven may be: of twelve more than five are in one case of a thousand."""
    assert len(ordinary) == 10
    found = [finding(frame(80, 87, seed), ordinary) for seed in range(1, 13)]
    assert all(each.pvalue >= 1 / 11 for each in found)
    assert sum(each.told for each in found) <= 5


def test_columns_that_go_together_as_they_did_not_are_told_where_no_columns_own_test_says_so(
    ordinary: tuple[float, ...],
) -> None:
    reference = made(sketched(OLD.assign(label=np.nan), KINDS, 0.5), 7)
    for seed in range(1, 5):
        new = frame(80, 87, seed, tied=0.9)
        alone = look(reference, sketched(new.assign(label=np.nan), KINDS, 0.5), 2.0, 0.05)
        assert {each.column for each in alone} == set(KINDS)
        assert not any(each.moved for each in alone)
        found = finding(new, ordinary)
        assert found.told
        assert found.pvalue == pytest.approx(1 / 11)
        assert set(found.columns[:2]) == {"x", "y"}


@pytest.mark.parametrize("name", ["x", "z"])
def test_a_column_that_moved_is_told_and_named_first(name: str, ordinary: tuple[float, ...]) -> None:
    found = finding(frame(80, 87, 1, **{name: 1.5}), ordinary)
    assert found.told
    assert found.columns[0] == name
    assert f"can be told from those at training, by {name}" in in_words(found)


def test_missing_values_and_categories_that_training_never_had_break_nothing_and_are_told(
    ordinary: tuple[float, ...],
) -> None:
    new = frame(80, 87, 1)
    new["w"] = new["w"].where(new["w"] != "a", "never seen")
    new["z"] = new["z"].mask(np.random.default_rng(0).random(len(new)) < 0.5)
    new["x"] = np.where(new["x"] > 2.5, np.inf, new["x"])
    found = finding(new, ordinary)
    assert found.told
    assert set(found.columns[:2]) == {"w", "z"}


def test_columns_without_any_value_or_with_one_alone_tell_nothing_and_break_nothing() -> None:
    """Of a column that has values in one fold alone, the classifiers of the others see none."""
    plain = {name: OLD.drop(columns="event_timestamp").head(400).copy() for name in ("old", "new")}
    for each in plain.values():
        each["x"], each["w"] = np.nan, "missing"
        each["y"] = np.where(np.arange(len(each)) < 10, 1.0, np.nan)
    days = np.tile(np.arange(400) // A_DAY, 2)
    of = sides(plain["old"], plain["new"], days, KINDS)
    assert of.names == ("y", "z")
    found = classified(of)
    assert len(found.asked) > 1
    assert 0 < found.auc() < 1


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 1)), min_size=1, max_size=60))
def test_no_day_is_both_learned_from_and_asked_about_and_each_row_is_asked_at_most_once(
    told: list[tuple[int, int]],
) -> None:
    day, side = np.asarray(told).T
    of = Sides((), (), np.zeros((len(day), 0)), side, day)
    asked = np.zeros(len(day))
    for learn, ask in folds(of):
        assert not set(day[learn]) & set(day[ask])
        assert not set(day[learn] % 7) & set(day[ask] % 7)
        assert all(set(side[part]) == {0, 1} for part in (learn, ask))
        asked += ask
    assert asked.max() <= 1


def test_a_week_on_both_sides_has_all_folds() -> None:
    day = np.tile(np.arange(14), 4)
    assert len(list(folds(Sides((), (), np.zeros((56, 0)), np.repeat([0, 1], 28), day)))) == FOLDS


def many(days: int, a_day: int, first: int = 0) -> Rows:
    return Rows(np.repeat(np.arange(first, first + days), a_day), lambda _: pd.DataFrame())


@pytest.mark.parametrize(
    ("had", "has", "found"),
    [
        ((90, 143), (7, 143), Shape(7, 1000)),
        ((90, 1000), (7, 1000), Shape(7, 2000)),
        ((90, 143), (8, 143), Shape(7, 1000)),
        ((90, 143), (7, 30), Shape(7, 200)),
        ((45, 143), (7, 143), Shape(5, 500)),
        ((365, 100), (42, 100), Shape(40, 2000)),
        ((26, 143), (7, 143), "the window has rows of 7 days and the training of 26, 3 and 27 needed"),
        ((90, 143), (2, 143), "the window has rows of 2 days and the training of 90, 3 and 27 needed"),
        ((90, 143), (7, 20), "140 rows of 7 days, 200 needed"),
        ((90, 20), (7, 143), "140 rows of 7 days, 200 needed"),
    ],
)
def test_a_window_is_looked_at_as_nine_past_ones_can_be_or_is_not_judged(
    had: tuple[int, int], has: tuple[int, int], found: Shape | str
) -> None:
    window = 42 if has[0] == 42 else 7
    assert shape(many(*had), many(*has, first=500), window) == found


def test_of_too_few_past_windows_nothing_is_judged_and_says_so() -> None:
    found = finding(frame(80, 87, 1, x=3.0), (0.5,) * (LEAST_PAST - 1))
    assert (found.auc, found.told, found.why) == (None, False, "8 past windows of 7 days, 9 needed")
    assert in_words(found).startswith("all columns together are not judged: 8 past windows")


def test_the_same_rows_have_the_same_answer(ordinary: tuple[float, ...]) -> None:
    new = frame(80, 87, 3, tied=0.9)
    assert finding(new, ordinary) == finding(new, ordinary)


def test_how_past_windows_are_told_is_found_once_for_the_same_training_columns_and_shape(
    tmp_path: Path,
) -> None:
    path, asked = tmp_path / "models" / "domain_1.json", list[Any]()

    def of(training: str, like: Shape) -> tuple[float, ...]:
        return kept.past({"training_set": training, "kinds": KINDS}, like, path, lambda: _made(asked))

    first, other = Shape(7, 200), Shape(7, 500)
    assert of("a", first) == of("a", first) == (0.5, 0.1)
    assert (of("a", other), of("a", first), len(asked)) == ((0.5, 0.2), (0.5, 0.1), 2)
    assert of("b", first) == (0.5, 0.3)
    assert of("a", first) == (0.5, 0.4)
    path.write_text("no JSON")
    assert of("a", first) == (0.5, 0.5)


def _made(asked: list[Any]) -> tuple[float, ...]:
    asked.append(None)
    return (0.5, len(asked) / 10)
