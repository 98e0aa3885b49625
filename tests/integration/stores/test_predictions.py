"""The prediction log keeps every answer, on a real SQLite database."""

import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction, Predictions

FIRST = Prediction(
    prediction_id="00000000-0000-4000-8000-000000000000",
    model="flight_delays",
    version=3,
    digest="a" * 64,
    entities={"carrier": "UA"},
    request={"scheduled_departure": datetime(2013, 4, 1, 13, 15, tzinfo=UTC), "distance": 1400},
    features={"origin_weather__temp": 41.5, "aircraft__seats": None},
    answer=0.1 + 0.2,
    threshold=0.4,
    degraded=False,
    asked_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    event_time=datetime(2013, 4, 1, 13, 15, tzinfo=UTC),
)


def test_what_is_recorded_is_read_back_to_the_last_bit(stores: Stores) -> None:
    stores.predictions.record(FIRST)
    found = stores.predictions.get(FIRST.prediction_id)
    written = {"scheduled_departure": "2013-04-01T13:15:00+00:00", "distance": 1400}
    assert found == replace(FIRST, request=written)


def test_an_answer_of_many_classes_is_read_back_whole_beside_those_of_one_number(stores: Stores) -> None:
    chances = {"late": 0.1 + 0.2, "on time": 0.7}
    of_classes = replace(
        FIRST, prediction_id="c", threshold=None, prediction="on time", probabilities=chances
    )
    for each in (FIRST, of_classes, replace(of_classes, prediction_id="d", prediction=3)):
        stores.predictions.record(each)
    found = {
        p.prediction_id: (p.prediction, p.probabilities) for p in stores.predictions.recent(FIRST.model, 9)
    }
    assert found == {FIRST.prediction_id: (None, None), "c": ("on time", chances), "d": (3, chances)}
    with pytest.raises(SQLAlchemyError):
        stores.predictions.record(of_classes)


def test_an_empty_log_counts_nothing_and_knows_no_answer(stores: Stores) -> None:
    assert stores.predictions.count("flight_delays") == 0
    assert stores.predictions.get("none") is None


def test_recent_answers_come_newest_first_and_only_of_their_model(stores: Stores) -> None:
    for number in range(5):
        asked = FIRST.asked_at + timedelta(seconds=number)
        stores.predictions.record(replace(FIRST, prediction_id=str(number), asked_at=asked))
    stores.predictions.record(replace(FIRST, prediction_id="other", model="other"))
    assert [p.prediction_id for p in stores.predictions.recent("flight_delays", 3)] == ["4", "3", "2"]
    assert stores.predictions.count("flight_delays") == 5


def test_an_id_is_recorded_once_and_never_overwritten(stores: Stores) -> None:
    stores.predictions.record(FIRST)
    with pytest.raises(SQLAlchemyError):
        stores.predictions.record(replace(FIRST, answer=0.9))
    found = stores.predictions.get(FIRST.prediction_id)
    assert found is not None
    assert found.answer == FIRST.answer


def test_threads_that_record_at_once_lose_nothing(stores: Stores) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: stores.predictions.record(replace(FIRST, prediction_id=str(n))), range(80)))
    assert stores.predictions.count("flight_delays") == 80


def test_sqlite_runs_with_a_write_ahead_log_that_is_synced_at_each_commit(stores: Stores) -> None:
    stores.predictions.record(FIRST)
    with stores.predictions._engine().connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def _record_for_ever(url: str, sender: "multiprocessing.connection.Connection") -> None:
    log, number = Predictions(url), 0
    while True:
        log.record(replace(FIRST, prediction_id=str(number)))
        sender.send(number)
        number += 1


def test_every_record_that_returned_survives_a_kill(stores: Stores) -> None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_record_for_ever, args=(stores.settings.database, sender), daemon=True)
    process.start()
    told = {receiver.recv() for _ in range(25)}
    process.kill()
    process.join()
    sender.close()
    assert len(told) == 25
    assert all(stores.predictions.get(str(number)) for number in told)


def test_a_database_that_is_not_one_is_an_error_and_not_a_lost_record(tmp_path: Path) -> None:
    (tmp_path / "evergreen.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(SQLAlchemyError):
        Predictions(f"sqlite:///{tmp_path / 'evergreen.db'}").record(FIRST)
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(tmp_path / "evergreen.db").execute("select * from predictions")
