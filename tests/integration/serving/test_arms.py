"""Rules of two versions in one process: who answers whom, that no challenger harms an answer, and both are asked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from pipelines.catalog import Limits, Rollout, Step
from pipelines.contracts import EvergreenError
from pipelines.serving.app import create_app
from pipelines.serving.arms.mirror import KEPT
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.answers.comparisons import Batch
from pipelines.stores.audit.permits import Permit
from tests.integration.serving.worlds import NOW, SPEC, FeatureTable, Models, Version, World, flights, wait

ROLLED = SPEC.model_copy(
    update={"rollout": Rollout(steps=(Step(share=0),), by=("carrier", "tailnum"), limits=Limits(apart=0.2))}
)
ROLLOUT = "flight_delays@2/now"
TAILS = [f"N{number}" for number in range(200)]


@dataclass
class Rollouts:
    """Which version is rolled out, in memory."""

    alias: Version | None = None
    permit_: Permit | None = None

    def challengers(self) -> Callable[[str], Version | None]:
        return lambda _: self.alias

    def permit(self, version: Version) -> Permit:
        if self.permit_ is None:
            raise EvergreenError("it is not being rolled out")
        return self.permit_


class Other:
    """A fitted pipeline that says something else; `fails` makes it fail on some rows, `wait` hold all up."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.feature_names_in_ = pipeline.feature_names_in_
        self.fails: Callable[[Any], bool] = lambda rows: False

    def predict_proba(self, rows: Any) -> Any:
        if self.fails(rows):
            raise ValueError("it does not know this row")
        return np.tile([0.25, 0.75], (len(rows), 1))


@dataclass
class Arms(World):
    """The app with a champion 1 and, once there is a permit, a challenger 2."""

    rollouts: Rollouts = field(default_factory=Rollouts)
    other: Any = None

    def roll_out(self, share: float, **changes: Any) -> None:
        permit = Permit(SPEC.name, 2, "two", 1, ROLLOUT, share, ("carrier", "tailnum"), "record", "ada", NOW)
        self.rollouts.permit_ = replace(permit, **changes)
        self.rollouts.alias = Version(2, "two")

    def status(self) -> dict[str, Any]:
        return dict(self.client.get("/v1/models/flight_delays").json())

    def rolled_out(self, share: float) -> None:
        self.roll_out(share)
        wait(lambda: self.status()["challenger_share"] == share)

    def compared(self, many: int) -> list[Batch]:
        """The batches, once so many questions were compared."""
        wait(lambda: self.stores.comparisons.count(ROLLOUT, NOW) >= many)
        return self.stores.comparisons.batches(ROLLOUT)


@pytest.fixture
def arms(stores: Stores, pipeline: Any) -> Iterator[Arms]:
    other = Other(pipeline)
    models = Models(Version(1, "one"), {1: pipeline, 2: other})
    features, rollouts = FeatureTable(), Rollouts()
    quick = Settings(_env_file=None, home=stores.settings.home, serving_poll_seconds=0.02)
    app = create_app(
        quick, {SPEC.name: ROLLED}, models, features, stores.predictions, None, rollouts, stores.comparisons,
        backgrounds=lambda *_: flights().tail(20),
    )  # fmt: skip
    with TestClient(app, raise_server_exceptions=False) as client:
        made = Arms(app, client, models, features, stores, rollouts, other)
        wait(lambda: made.serving() == 1)
        yield made


def test_a_shadow_sees_the_questions_and_answers_nobody(arms: Arms) -> None:
    arms.rolled_out(0.0)
    replies = [arms.ask(tailnum=tail).json() for tail in TAILS[:20]]
    assert {(each["version"], each["arm"]) for each in replies} == {(1, "champion")}
    batches = arms.compared(20)
    assert sum(each.questions for each in batches) == 20
    assert all((each.alone, each.other, each.answered) == (0, 0, each.questions) for each in batches)
    assert sum(each.differ for each in batches) == sum(
        abs(each["probability"] - 0.75) > 0.2 for each in replies
    )
    assert all(each.times for each in batches)
    said = {each["prediction_id"]: each["probability"] for each in replies}
    pairs = arms.stores.comparisons.pairs(ROLLOUT)
    assert 0 < len(pairs) <= KEPT * len(batches)
    assert all(each.champion == pytest.approx(said[name]) for name, each in pairs.items())
    assert {each.challenger for each in pairs.values()} == {0.75}
    logged = arms.stores.comparisons.logged(ROLLOUT)
    assert {row["prediction_id"] for row in logged} == set(pairs)


def test_a_canary_answers_its_share_and_the_log_says_which_version_did(arms: Arms) -> None:
    arms.rolled_out(0.3)
    replies = [arms.ask(tailnum=tail).json() for tail in TAILS]
    theirs = [each for each in replies if each["arm"] == "challenger"]
    assert 0.15 < len(theirs) / len(replies) < 0.45
    assert {each["version"] for each in theirs} == {2}
    assert {each["probability"] for each in theirs} == {0.75}
    logged = arms.stores.predictions.get(theirs[0]["prediction_id"])
    assert logged is not None
    assert (logged.version, logged.digest, logged.answer) == (2, "two", 0.75)
    assert arms.metric("evergreen_requests_total", version="2") == len(theirs)


def test_what_the_challenger_answered_the_challenger_explains(arms: Arms) -> None:
    arms.rolled_out(1.0)
    name = arms.ask().json()["prediction_id"]
    told = arms.client.post("/v1/explanations", json={"prediction_id": name}).json()
    assert (told["version"], told["answer"], told["base"]) == (2, 0.75, 0.75)
    assert {each["contribution"] for each in told["contributions"]} == {0.0}


def test_who_asks_again_is_answered_by_the_same_and_stays_with_it_as_the_share_grows(arms: Arms) -> None:
    answered = []
    for share in (0.2, 0.2, 0.6):
        arms.rolled_out(share)
        answered.append({tail for tail in TAILS if arms.ask(tailnum=tail).json()["version"] == 2})
    assert answered[0]
    assert answered[0] == answered[1]
    assert answered[1] < answered[2] < set(TAILS)
    # What the permit does not tell people apart by changes nothing.
    one = next(iter(answered[0]))
    arms.rolled_out(0.2)
    assert {arms.ask(tailnum=one, distance=far).json()["version"] for far in (100, 500, 900)} == {2}


def test_what_the_challenger_fails_on_the_champion_answers(arms: Arms) -> None:
    arms.other.fails = lambda rows: (rows["tailnum"] != "N14228").any()  # the spec's example it knows
    arms.rolled_out(1.0)
    replies = [arms.ask(tailnum=tail) for tail in TAILS[:30]]
    assert {reply.status_code for reply in replies} == {200}
    assert {reply.json()["version"] for reply in replies} == {1}
    assert all((each.alone, each.times) == (each.questions, None) for each in arms.compared(30))
    assert arms.stores.comparisons.pairs(ROLLOUT) == {}


def test_a_challenger_that_does_not_load_changes_nothing_and_the_status_says_so(arms: Arms) -> None:
    del arms.models.loads[2]
    arms.roll_out(1.0)
    wait(lambda: arms.status()["challenger_error"] is not None)
    assert "version 2 is not asked beside the champion" in arms.status()["challenger_error"]
    assert arms.ask().json()["version"] == 1


@pytest.mark.parametrize("why", ["no permit", "another champion"])
def test_without_a_permit_for_this_champion_nobody_is_answered_by_it(arms: Arms, why: str) -> None:
    arms.roll_out(1.0, champion=7)
    if why == "no permit":
        arms.rollouts.permit_ = None
        wait(lambda: arms.status()["challenger_error"] is not None)
    else:
        wait(lambda: 2 in arms.models.built)
    assert arms.ask().json()["version"] == 1
    assert arms.status()["challenger"] is None


def test_once_the_rollout_has_ended_the_champion_answers_everybody(arms: Arms) -> None:
    arms.rolled_out(1.0)
    assert arms.ask().json()["version"] == 2
    arms.rollouts.alias = None
    wait(lambda: arms.status()["challenger"] is None)
    assert arms.ask().json()["version"] == 1


def test_a_registry_that_does_not_answer_leaves_both_as_they_are(arms: Arms) -> None:
    arms.rolled_out(1.0)

    def gone() -> Any:
        raise ConnectionError("the registry is down")

    arms.rollouts.challengers = gone  # type: ignore[method-assign]
    wait(lambda: arms.status()["challenger_error"] is not None)
    assert arms.ask().json()["version"] == 2


def test_several_questions_at_once_are_answered_by_one_version(arms: Arms) -> None:
    arms.rolled_out(1.0)
    body = {"dataframe_records": [{**_flat(), "tailnum": tail} for tail in TAILS[:5]]}
    reply = arms.client.post("/v1/models/flight_delays/invocations", json=body)
    assert reply.status_code == 200, reply.text
    assert sum(each.answered for each in arms.compared(5)) == 5
    assert arms.metric("evergreen_requests_total", version="1") == 1


def _flat() -> dict[str, Any]:
    from pipelines.serving.schemas import example

    asked = example(SPEC)
    return {**asked["entities"], **asked["request"]}


def test_a_log_of_comparisons_that_fails_harms_no_answer(arms: Arms, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(arms.stores.comparisons, "record", full)
    arms.rolled_out(0.5)
    assert {arms.ask(tailnum=tail).status_code for tail in TAILS[:20]} == {200}


def test_with_a_rollout_in_its_spec_and_none_running_answers_are_the_champions(arms: Arms) -> None:
    assert arms.ask().json()["arm"] == "champion"
    status = arms.status()
    assert (status["challenger"], status["challenger_share"], status["challenger_error"]) == (
        None,
        None,
        None,
    )
