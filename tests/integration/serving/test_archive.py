"""Rules of the prediction log's way to the lake: every answer and truth once, whoever is killed, and then forgotten."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.contracts import NothingToDo
from pipelines.loop import steps
from pipelines.serving.tables import archive as tables
from pipelines.serving.tables.archive import archive
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction, Truth

MODEL = "flight_delays"
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def answer(at: datetime = NOW, model: str = MODEL, **changes: Any) -> Prediction:
    made = {
        "prediction_id": str(uuid4()), "model": model, "version": 1, "digest": "d", "entities": {"carrier": "UA"},
        "request": {"distance": 700}, "features": {"aircraft__seats": 150}, "answer": 0.25, "threshold": 0.5,
        "degraded": False, "asked_at": at, "event_time": at + timedelta(hours=2), "known": {"aircraft": {"version": 2}},
    }  # fmt: skip
    return Prediction(**made | changes)


def told(of: Prediction, at: datetime = NOW, truth: float = 1.0) -> Truth:
    return Truth(str(uuid4()), of.prediction_id, truth, at, at)


def rows(stores: Stores, layer: str = "predictions", model: str = MODEL) -> list[dict[str, Any]]:
    found = stores.tables.dataset(layer, model)
    return [] if found is None else list(found.to_table().to_pylist())


def ids(stores: Stores, layer: str = "predictions", key: str = "prediction_id") -> list[str]:
    return sorted(row[key] for row in rows(stores, layer))


def test_an_answer_lies_in_the_lake_as_it_was_logged(stores: Stores) -> None:
    of_classes = answer(prediction="late", probabilities={"late": 0.75, "early": 0.25}, threshold=None)
    one, other = answer(), of_classes
    stores.predictions.record(one, other, answer(model="another"))
    stores.predictions.tell(told(one))
    found = archive(MODEL, stores, NOW)
    assert (found.answers, found.truths, found.forgotten) == (2, 1, 0)
    by_id = {row["prediction_id"]: row for row in rows(stores)}
    assert set(by_id) == {one.prediction_id, other.prediction_id}
    plain = by_id[one.prediction_id]
    assert (plain["answer"], plain["asked_at"], plain["event_time"]) == (0.25, one.asked_at, one.event_time)
    assert json.loads(plain["features"]) == one.features
    assert json.loads(plain["known"]) == one.known
    classes = by_id[other.prediction_id]
    assert json.loads(classes["probabilities"]) == other.probabilities
    assert (classes["prediction"], plain["probabilities"]) == ('"late"', None)
    (truth,) = rows(stores, "truths")
    assert (truth["prediction_id"], json.loads(truth["truth"])) == (one.prediction_id, 1.0)


def test_what_was_moved_is_not_moved_again_and_what_came_since_is(stores: Stores) -> None:
    stores.predictions.record(answer(), answer())
    assert archive(MODEL, stores, NOW).answers == 2
    stores.predictions.record(answer(NOW - DAY))  # an older time than what was moved
    assert archive(MODEL, stores, NOW).answers == 1
    assert archive(MODEL, stores, NOW).answers == 0
    assert len(set(ids(stores))) == len(ids(stores)) == 3


@pytest.mark.parametrize("at", ["before the write", "after the write", "after the mark"])
def test_who_is_killed_anywhere_leaves_each_answer_once(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(tables, "MOST", 3)
    logged = [answer() for _ in range(8)]
    stores.predictions.record(*logged)
    append, done, calls = stores.tables.append, stores.archive.done, []

    def killed(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 2 and at != "after the mark":
            if at == "after the write":
                append(*given)
            raise KeyboardInterrupt
        return append(*given)

    def marked(batch: str) -> None:
        done(batch)
        if at == "after the mark":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stores.tables, "append", killed)
        patch.setattr(stores.archive, "done", marked)
        with pytest.raises(KeyboardInterrupt):
            archive(MODEL, stores, NOW)
    archive(MODEL, stores, NOW)
    assert ids(stores) == sorted(each.prediction_id for each in logged)


def test_several_movers_and_a_server_that_goes_on_logging_lose_and_double_nothing(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST", 7)
    logged = [answer() for _ in range(60)]

    def log() -> None:
        for each in logged:
            stores.predictions.record(each)

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(log)]
        work += [pool.submit(archive, MODEL, Stores(stores.settings), NOW) for _ in range(6)]
        for each in work:
            each.result()
    archive(MODEL, stores, NOW)
    assert ids(stores) == sorted(each.prediction_id for each in logged)


@pytest.fixture
def forgetful(stores: Stores) -> Stores:
    return Stores(Settings(_env_file=None, home=stores.settings.home, prediction_log_days=30))


def test_what_is_old_leaves_the_database_once_it_lies_in_the_lake_with_its_truths(forgetful: Stores) -> None:
    old, young = answer(NOW - 31 * DAY), answer(NOW - 29 * DAY)
    forgetful.predictions.record(old, young)
    forgetful.predictions.tell(told(old))
    assert archive(MODEL, forgetful, NOW).forgotten == 1
    assert forgetful.predictions.get(old.prediction_id) is None
    assert forgetful.predictions.get(young.prediction_id) is not None
    assert ids(forgetful) == sorted([old.prediction_id, young.prediction_id])
    assert len(rows(forgetful, "truths")) == 1
    assert archive(MODEL, forgetful, NOW).answers == 0


def test_by_default_nothing_leaves_the_database(stores: Stores) -> None:
    stores.predictions.record(answer(NOW - 4000 * DAY))
    assert archive(MODEL, stores, NOW).forgotten == 0
    assert stores.predictions.count(MODEL) == 1


@hypothesis_settings(max_examples=20)
@given(st.lists(st.integers(0, 60), max_size=8), st.lists(st.integers(0, 7), max_size=8), st.integers(1, 3))
def test_nothing_that_is_not_in_the_lake_is_ever_forgotten(
    tmp_path_factory: pytest.TempPathFactory, ages: list[int], truths: list[int], most: int
) -> None:
    """Answers of any age, truths of any of them told before and after the move: all there, once, and the young stay."""
    home = tmp_path_factory.mktemp("archive")
    stores = Stores(Settings(_env_file=None, home=home, prediction_log_days=30))
    logged = [answer(NOW - age * DAY) for age in ages]
    stores.predictions.record(*logged)
    said = [told(logged[place]) for place in truths if place < len(logged)]
    half = len(said) // 2
    for each in said[:half]:
        stores.predictions.tell(each)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "MOST", most)
        archive(MODEL, stores, NOW - 20 * DAY)  # too early for most of them
        there = [each for each in said[half:] if stores.predictions.get(each.prediction_id)]
        for each in there:
            stores.predictions.tell(each)
        archive(MODEL, stores, NOW)
    assert ids(stores) == sorted(each.prediction_id for each in logged)
    kept = {each.truth_id for each in [*said[:half], *there]}
    assert set(ids(stores, "truths", "truth_id")) == kept
    assert stores.predictions.count(MODEL) == sum(age <= 30 for age in ages)


def test_the_step_has_nothing_to_do_where_nothing_is_new(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "stores", lambda: stores)
    with pytest.raises(NothingToDo, match="lies in the lake"):
        steps.archive(MODEL)
    stores.predictions.record(answer())
    assert steps.archive(MODEL)["answers"] == 1
