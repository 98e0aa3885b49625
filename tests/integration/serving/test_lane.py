"""Rules of questions that come at once: each gets its own answer, none waits in vain, and the server says it lives."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.serving import __main__ as serving
from pipelines.serving.app import create_app
from pipelines.serving.http.turnstile import CROWD, Turnstile
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import CannotAnswer, Predictor
from pipelines.serving.schemas import example
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction
from tests.integration.serving.worlds import (
    KNOWN,
    SPEC,
    FeatureTable,
    Models,
    Version,
    World,
    wait,
)

AT_ONCE = 24


@dataclass
class Held:
    """A log that holds whoever writes into it while it is told to, and counts its commits."""

    stores: Stores
    free: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    commits: list[int] = field(default_factory=list)

    def record(self, *predictions: Prediction) -> None:
        self.commits.append(len(predictions))
        self.reached.set()
        assert self.free.wait(60)
        self.stores.predictions.record(*predictions)


@dataclass
class Crowd:
    """An app with a champion, and people who ask it at once."""

    world: World
    log: Held
    pool: ThreadPoolExecutor

    def ask(self, **changes: Any) -> "Future[Any]":
        return self.pool.submit(self.world.ask, **changes)

    def held(self) -> "Future[Any]":
        """A question whose answer is on its way into the log, and stays there."""
        first = self.ask()
        assert self.log.reached.wait(60)
        return first


def crowd(stores: Stores, pipeline: Any, patience: float) -> Iterator[Crowd]:
    models, features, log = Models(Version(1, "one"), {1: pipeline}), FeatureTable(), Held(stores)
    features.values["AA"] = dict.fromkeys(KNOWN)
    quick = {"serving_poll_seconds": 0.02, "serving_patience_seconds": patience}
    app = create_app(
        Settings(_env_file=None, home=stores.settings.home, **quick),
        {SPEC.name: SPEC}, models, features, log,
    )  # fmt: skip
    with (
        TestClient(app, raise_server_exceptions=False) as client,
        ThreadPoolExecutor(AT_ONCE + 1) as pool,
    ):
        made = Crowd(World(app, client, models, features, stores), log, pool)
        wait(lambda: made.world.serving() == 1)
        yield made
        log.free.set()


@pytest.fixture
def patient(stores: Stores, pipeline: Any) -> Iterator[Crowd]:
    yield from crowd(stores, pipeline, 60)


@pytest.fixture
def hurried(stores: Stores, pipeline: Any) -> Iterator[Crowd]:
    yield from crowd(stores, pipeline, 0.1)


def waiting(crowd: Crowd, many: int, ask: Callable[[int], "Future[Any]"]) -> list["Future[Any]"]:
    """So many who ask, all of whom wait for their turn."""
    asked = [ask(number) for number in range(many)]
    lane = crowd.world.app.state.lane
    wait(lambda: lane.within == many + 1 or any(each.done() for each in asked))
    return asked


def test_what_waits_together_is_logged_in_one_commit_and_each_gets_its_own_answer(patient: Crowd) -> None:
    first = patient.held()
    flights = [
        {"distance": 100 + 100 * n, "carrier": ["UA", "DL", "AA", "ZZ"][n % 4]} for n in range(AT_ONCE)
    ]
    asked = waiting(patient, AT_ONCE, lambda n: patient.ask(**flights[n]))
    patient.log.free.set()
    answers = [each.result(60).json() for each in asked]
    assert first.result(60).status_code == 200
    assert patient.log.commits == [1, AT_ONCE]
    assert len({answer["prediction_id"] for answer in answers}) == AT_ONCE
    for flight, answer in zip(flights, answers, strict=True):
        logged = patient.world.stores.predictions.get(answer["prediction_id"])
        assert logged is not None
        assert (logged.request["distance"], logged.entities["carrier"]) == (
            flight["distance"],
            flight["carrier"],
        )
        alone = patient.world.ask(**flight).json()
        assert {**answer, "prediction_id": ""} == {**alone, "prediction_id": ""}
    assert len({answer["probability"] for answer in answers}) >= 4


def test_while_answers_are_stuck_the_server_says_that_it_lives_and_is_ready(patient: Crowd) -> None:
    first = patient.held()
    asked = waiting(patient, AT_ONCE, lambda _: patient.ask())
    client = patient.world.client
    assert [client.get(path).status_code for path in ("/health", "/ready", "/v1/models")] == [200] * 3
    assert not first.done()
    assert not any(each.done() for each in asked)


def test_who_would_wait_too_long_is_refused_at_once_and_told_when_to_ask_again(hurried: Crowd) -> None:
    first = hurried.held()
    hurried.world.app.state.lane.most = AT_ONCE
    asked = [hurried.ask() for _ in range(AT_ONCE)]
    wait(lambda: hurried.world.app.state.lane.crowded())
    refused = hurried.world.ask()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert "busy" in refused.json()["detail"]
    assert not first.done()
    hurried.log.free.set()
    codes = [each.result(60).status_code for each in asked]
    assert first.result(60).status_code == 200
    assert codes.count(503) + 1 == hurried.world.metric("evergreen_refused_requests_total", model=SPEC.name)
    assert 1 + codes.count(200) == hurried.world.stores.predictions.count(SPEC.name)
    wait(lambda: hurried.world.ask().status_code == 200)


def test_the_server_is_begun_with_the_turnstile_and_the_app_tells_it_when_to_turn_away(
    patient: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it close a connection within a minute, for which load balancers keep theirs."""
    begun = list[uvicorn.Config]()
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: begun.append(self.config))
    monkeypatch.setattr(serving, "_log", lambda: None)
    monkeypatch.setattr(serving, "_listen", lambda _: None)
    assert serving.main() == 0
    assert [(each.http, each.timeout_keep_alive > 60) for each in begun] == [(Turnstile, True)]
    told = patient.world.client.app_state[CROWD]
    assert not told.full()
    patient.held()
    patient.world.app.state.lane.most = AT_ONCE
    asked = waiting(patient, AT_ONCE, lambda _: patient.ask())
    assert told.full()
    patient.log.free.set()
    assert {each.result(60).status_code for each in asked} == {200}


def test_a_log_that_takes_nothing_withholds_every_answer_that_waited_for_it(
    patient: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.held()
    asked = waiting(patient, 5, lambda _: patient.ask())

    def full(*_: Prediction) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(patient.log, "record", full)
    patient.log.free.set()
    assert {each.result(60).status_code for each in asked} == {503}
    assert patient.world.metric("evergreen_log_errors_total", model=SPEC.name) == 5
    assert patient.world.stores.predictions.count(SPEC.name) == 1


class Picky:
    """A pipeline that fails on one carrier, whoever stands beside it."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline, self.feature_names_in_ = pipeline, pipeline.feature_names_in_

    def predict_proba(self, rows: Any) -> Any:
        if (rows["carrier"] == "XX").any():
            raise ValueError("no such carrier")
        return self.pipeline.predict_proba(rows)


def test_a_question_that_a_model_cannot_answer_is_nobody_elses_fault(pipeline: Any) -> None:
    predictor = Predictor(SPEC, Models(Version(1, "one"), {1: Picky(pipeline)}), FeatureTable(), Metrics())
    predictor.follow()
    served = predictor.champion()
    questions = [question(predictor, carrier, 500) for carrier in ("UA", "XX", "AA", "XX")]
    said = predictor.answers(served, questions)
    assert [isinstance(each, CannotAnswer) for each in said] == [False, True, False, True]
    assert said[0] == predictor.answer(served, *questions[0])


def test_a_question_whose_features_cannot_be_read_takes_nobody_elses(pipeline: Any) -> None:
    class Choosy(FeatureTable):
        def online(self, names: Any, entities: Any, *rest: Any) -> Any:
            if entities["carrier"] == "XX":
                raise ValueError("no such key can be looked up")
            return super().online(names, entities, *rest)

    predictor = Predictor(SPEC, Models(Version(1, "one"), {1: pipeline}), Choosy(), Metrics())
    predictor.follow()
    asked = [question(predictor, carrier, 500)[0] for carrier in ("UA", "XX", "UA")]
    found = predictor.features(predictor.champion(), asked)
    assert [each.degraded for each in found] == [False, True, False]
    assert found[0].values == KNOWN


def question(predictor: Predictor, carrier: str, distance: int, **known: Any) -> Any:
    body = deepcopy(example(SPEC))
    body["entities"]["carrier"], body["request"]["distance"] = carrier, distance
    asked = predictor.request_model.model_validate(body).model_dump()
    (found,) = predictor.features(predictor.champion(), [asked])
    return asked, type(found)({**found.values, **known}, found.missing)


VALUES = st.fixed_dictionaries(
    {name: st.one_of(st.none(), st.integers(-5, 5), st.floats(-1e3, 1e3)) for name in KNOWN}
)


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(
        st.tuples(st.sampled_from(["UA", "DL", "ZZ"]), st.integers(1, 5000), VALUES), min_size=2, max_size=9
    )
)
def test_an_answer_among_others_is_the_answer_alone_to_the_bit(pipeline: Any, asked: list[Any]) -> None:
    predictor = Predictor(SPEC, Models(Version(1, "one"), {1: pipeline}), FeatureTable(), Metrics())
    predictor.follow()
    served = predictor.champion()
    questions = [question(predictor, carrier, distance, **known) for carrier, distance, known in asked]
    assert predictor.answers(served, questions) == [predictor.answer(served, *each) for each in questions]
