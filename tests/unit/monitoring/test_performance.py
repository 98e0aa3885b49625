"""Rules of slices and arms over time: each answer counts in its own, the worst first, and the page says how sure."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from pipelines import catalog
from pipelines.cli.tables import performed
from pipelines.contracts import as_json
from pipelines.monitoring.arms import CHALLENGER, CHAMPION, LAG, Span, with_arms
from pipelines.monitoring.calibration import Track
from pipelines.monitoring.performance.days import Performance, judged, track
from pipelines.monitoring.performance.page import paged
from pipelines.monitoring.performance.pictures import slices_picture
from pipelines.monitoring.truth import KNOWN
from pipelines.stores.answers.comparisons import Pair
from tests.answered import AS_OF, BEGIN, NO_RECORD, SHAPES, answered_rows

SPEC = catalog.model("flight_delays")
SPAN = Span("r", 1, 2, BEGIN + timedelta(days=5), BEGIN + timedelta(days=9), promoted=False)
PNG = b"\x89PNG"


def rolled_out(better: float = 0.15) -> tuple[pd.DataFrame, Any]:
    """Rows of which version 2 answered a tenth while SPAN ran, and stores in which both were asked every fourth."""
    rows = answered_rows(SHAPES["too low"])
    during = (rows["asked_at"] >= SPAN.begun) & (rows["asked_at"] < SPAN.ended)
    tenth = during & (np.arange(len(rows)) % 10 == 0)
    rows["version"] = np.where(tenth, 2, 1)
    asked = rows[during & (np.arange(len(rows)) % 4 == 0)]
    closer = {True: 1.0, False: 0.0}
    pairs = {
        each.prediction_id: Pair(
            each.prediction_id, "r", each.said, each.said + better * (closer[each.label == 1] - each.said)
        )
        for each in asked.itertuples()
    }
    asking = {"pairs": lambda _, name: pairs if name == "r" else {}}
    return rows, type("S", (), {"tracking": NO_RECORD.tracking, "comparisons": type("C", (), asking)()})


@pytest.fixture(scope="module")
def found() -> Performance:
    rows, stores = rolled_out()
    return judged(SPEC, rows, AS_OF, stores, [SPAN])


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return rolled_out()[0]


def test_a_slices_figures_are_those_of_its_own_answers_over_all_days_and_each(
    found: Performance, rows: pd.DataFrame
) -> None:
    assert {each.name for each in found.slices} == {
        *(f"origin = {name}" for name in ("EWR", "JFK", "LGA")),
        *(f"carrier = {name}" for name in ("UA", "AA", "B6", "OO")),
    }
    for each in found.slices:
        column, _, value = each.name.partition(" = ")
        some = rows[rows[column] == value]
        known = some[some["state"] == KNOWN]
        assert (each.answers, each.known) == (len(some), len(known))
        assert each.metric == pytest.approx(log_loss(known["label"], known["said"]))
        assert sum(day.answers for day in each.days) == len(some)
        assert [day.day for day in each.days] == sorted(day.day for day in each.days)
        for day in each.days:
            its = known[known["event_timestamp"].dt.strftime("%Y-%m-%d") == day.day]
            assert day.known == len(its)
            if day.metric is not None:
                assert day.metric == pytest.approx(log_loss(its["label"], its["said"], labels=[0, 1]))


def test_the_worst_slice_comes_first_and_those_that_know_too_little_last(rows: pd.DataFrame) -> None:
    worse = rows["carrier"] == "B6"
    bad = rows.assign(said=np.where(worse, 0.97, rows["said"]))
    names = [each.name for each in judged(SPEC, bad, AS_OF, NO_RECORD).slices]
    assert names[0] == "carrier = B6"
    assert names[-1] == "carrier = OO"  # it has a handful of answers, whatever they were worth


def test_a_slice_of_a_feature_has_its_own_answers(rows: pd.DataFrame) -> None:
    """A number of many values is cut into quarters, as the gate does."""
    columns = {"columns": ("aircraft__seats",)}
    gate = SPEC.gate.model_copy(update={"slices": SPEC.gate.slices.model_copy(update=columns)})
    seats = rows.assign(aircraft__seats=np.arange(len(rows)) % 100.0)
    slices = judged(SPEC.model_copy(update={"gate": gate}), seats, AS_OF, NO_RECORD).slices
    assert sorted(each.name for each in slices) == [f"aircraft__seats part {n} of 4" for n in (1, 2, 3, 4)]
    assert sum(each.answers for each in slices) == len(rows)


def test_an_answer_is_a_challengers_while_its_rollout_runs_and_a_champions_else(rows: pd.DataFrame) -> None:
    both = rows.assign(version=1 + np.arange(len(rows)) % 2)
    for span in (SPAN, replace(SPAN, promoted=True), replace(SPAN, ended=None)):
        told = with_arms(both, [span])["arm"]
        assert {CHAMPION, CHALLENGER} == set(told)
        for arm, version, asked in zip(told, both["version"], both["asked_at"], strict=True):
            last = AS_OF if span.ended is None else span.ended + (timedelta(0) if span.promoted else LAG)
            its = version == 2 and span.begun <= asked < last
            assert (arm == CHALLENGER) == its
    assert set(with_arms(both, [])["arm"]) == {CHAMPION}


def test_the_arms_of_a_rollout_are_told_by_what_left_and_by_what_both_were_asked(
    found: Performance, rows: pd.DataFrame
) -> None:
    (arms,) = found.arms
    during = rows[(rows["asked_at"] >= SPAN.begun) & (rows["asked_at"] < SPAN.ended + LAG)]  # type: ignore[operator]
    for arm, version in zip(arms.given, (1, 2), strict=True):
        known = during[(during["version"] == version) & (during["state"] == KNOWN)]
        assert arm.known == len(known) > 20
        assert arm.metric == pytest.approx(log_loss(known["label"], known["said"]))
    one, other = arms.same
    assert one.answers == other.answers > 100
    assert one.metric is not None
    assert other.metric is not None
    assert arms.gain == pytest.approx(one.metric - other.metric)
    assert arms.low is not None
    assert 0 < arms.low < arms.gain
    days = {(each.day, each.version): each.arm for each in found.periods}
    assert {arm for (_, version), arm in days.items() if version == 2} == {CHALLENGER}
    assert {arm for (_, version), arm in days.items() if version == 1} == {CHAMPION}


def test_equal_arms_are_seldom_told_apart() -> None:
    rows, stores = rolled_out(better=0.0)
    (arms,) = judged(SPEC, rows, AS_OF, stores, [SPAN]).arms
    assert arms.gain == pytest.approx(0)


def test_a_rollout_that_none_of_the_answers_belongs_to_is_not_shown(rows: pd.DataFrame) -> None:
    old = replace(SPAN, rollout="other", begun=BEGIN - timedelta(days=9), ended=BEGIN - timedelta(days=8))
    _, stores = rolled_out()
    assert judged(SPEC, rows, AS_OF, stores, [old]).arms == ()


def test_the_page_shows_slices_arms_and_how_far_estimates_were_off(
    found: Performance, tmp_path: Path
) -> None:
    page = paged(found, tmp_path).read_text()
    text = re.sub(r"<[^>]+>", "", re.sub(r"base64,[^\"]+", "", page))
    places = [page.index(f"<td>{each.name}</td>") for each in found.slices]
    assert places == sorted(places)
    assert page.count("data:image/png;base64,") == 2
    assert not re.search(r"(src|href)=[\"']https?:", page)
    assert "does not see concept drift" in text
    assert re.search(r"whose truth is all there, it was [\d.]+ off on average", text)
    assert f"{found.track.claimed:.3g} off." in text
    assert "Version 2 beside champion 1" in text
    assert "taken back" in text
    assert "challenger (version 2), asked the same" in text


def test_what_a_slice_is_called_cannot_become_markup(rows: pd.DataFrame, tmp_path: Path) -> None:
    evil = rows.assign(carrier="<script>alert(1)</script>")
    page = paged(judged(SPEC, evil, AS_OF, NO_RECORD), tmp_path).read_text()
    assert "&lt;script&gt;" in page
    assert "<script" not in page


def test_pictures_come_out_where_hardly_anything_is_known(rows: pd.DataFrame, tmp_path: Path) -> None:
    few = judged(SPEC, rows.head(3), AS_OF, NO_RECORD)
    assert slices_picture(few) == b""
    assert "nobody knows yet" in paged(few, tmp_path).read_text()
    one = judged(SPEC, rows[rows["carrier"] == "UA"].head(400), AS_OF, NO_RECORD)
    assert slices_picture(one).startswith(PNG)


def test_values_have_slices_and_no_estimate(rows: pd.DataFrame, tmp_path: Path) -> None:
    spec = catalog.model("airport_hours")
    values = rows.assign(said=rows["said"] * 60, label=rows["label"] * 45)
    found = judged(spec, values, AS_OF, NO_RECORD)
    assert found.metric == "mae"
    assert len(found.slices) == 3
    assert all(each.expected is None for each in (*found.periods, *found.slices))
    assert "concept drift" not in paged(found, tmp_path).read_text()


def test_days_whose_estimate_is_no_number_say_nothing_of_how_far_it_was_off(found: Performance) -> None:
    each = next(each for each in found.periods if each.metric is not None)
    known = {"basis": "history", "pending": 0, "expected": 0.4, "claimed": 0.4}
    good, bad = (replace(each, **known | {"expected": value}) for value in (0.4, float("nan")))
    assert track([good, bad]) == track([good])
    assert track([good]).days == 1
    assert track([bad]) == Track(0)
    plain = as_json(replace(found, track=Track(3, None, None, None))) | {"page": "x"}
    assert performed(plain) is not None
