"""Rules of a rollout: only what the gate passed, step by step, taken back at a breach, and told in the audit log."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from pipelines.catalog import ModelSpec, Rollout
from pipelines.contracts import EvergreenError, NothingToDo
from pipelines.promotion.retire import retire
from pipelines.promotion.rollback import rollback
from pipelines.prove.promotion.world import World
from pipelines.rollout import look as looking
from pipelines.rollout import moves
from pipelines.rollout.look import ADVANCED, BAKES, PROMOTED, TAKEN_BACK, Look, compared, look, shown
from pipelines.stores import Stores
from pipelines.stores.answers.comparisons import Batch
from pipelines.stores.audit.permits import permit_of
from pipelines.stores.tracking.registry import CHALLENGER, CHAMPION
from tests.champions import copied, crowned

HOUR = timedelta(hours=1)
PLAN = Rollout.model_validate(
    {
        "steps": [{"share": 0, "bake": "1h"}, {"share": 0.1, "bake": "2h"}],
        "limits": {"apart": 0.2},
        "minimum": 20,
    }
)


@pytest.fixture
def world(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return copied(crowned(tmp_path_factory), tmp_path / "home")


@pytest.fixture
def stores(world: World) -> Stores:
    return world.stores


@pytest.fixture
def spec(world: World) -> ModelSpec:
    return world.spec.model_copy(update={"rollout": PLAN})


@pytest.fixture
def begun(spec: ModelSpec, stores: Stores) -> datetime:
    """Version 2 is champion, and version 1, which passed against it, is rolled out since then."""
    at = datetime.now(UTC)
    answer = moves.begin(spec, 1, stores, at)
    assert not answer.promoted
    assert "version 1 passed and is rolled out: it answers nobody yet, step 1 of 2" in answer.reason
    return at


def asked(
    stores: Stores, spec: ModelSpec, at: datetime, many: int = 20, challenger: float | None = 0.5
) -> None:
    """Both were asked so many questions, four at once."""
    running = moves.current(spec.name, stores)
    assert running is not None
    for _ in range(0, many, 4):
        failed = challenger is None
        differ = 0 if failed or abs((challenger or 0) - 0.5) <= 0.2 else 4
        batch = Batch(
            str(uuid4()),
            running.rollout,
            at,
            4,
            4 * failed,
            0,
            4 * (not failed),
            differ,
            None if failed else 1.0,
        )
        stores.comparisons.record(batch, [])


def aliases(stores: Stores, spec: ModelSpec) -> tuple[int | None, int | None]:
    return stores.tracking.named(spec.name, CHAMPION), stores.tracking.named(spec.name, CHALLENGER)


def permitted(stores: Stores, spec: ModelSpec, version: int = 1) -> float | None:
    """The share that a version may answer; None if it may not be asked."""
    try:
        return stores.tracking.permit(stores.tracking.version(spec.name, version)).share
    except EvergreenError:
        return None


def test_from_pass_to_champion_step_by_step_each_told_in_the_audit_log(
    spec: ModelSpec, stores: Stores, begun: datetime
) -> None:
    assert aliases(stores, spec) == (2, 1)
    assert permitted(stores, spec) == 0
    asked(stores, spec, begun)
    second = begun + HOUR
    assert look(spec, stores, second).outcome == ADVANCED
    assert permitted(stores, spec) == 0.1
    asked(stores, spec, second)
    found = look(spec, stores, second + 2 * HOUR)
    assert (found.outcome, found.ended) == (PROMOTED, True)
    assert aliases(stores, spec) == (1, None)
    assert permitted(stores, spec) is None
    told = [entry.action for entry in stores.audit.entries(moves.subject(spec.name))]
    assert told == ["roll_out", "advance", "rolled_out"]
    assert stores.audit.verify() == []
    with pytest.raises(NothingToDo):
        look(spec, stores, second + 3 * HOUR)


def test_no_step_ends_before_it_has_baked_and_seen_enough(
    spec: ModelSpec, stores: Stores, begun: datetime
) -> None:
    asked(stores, spec, begun, 16)
    early = look(spec, stores, begun + 5 * HOUR)
    assert (early.outcome, early.questions, early.minimum) == (BAKES, 16, 20)
    asked(stores, spec, begun, 4)
    assert look(spec, stores, begun + HOUR / 2).outcome == BAKES
    assert look(spec, stores, begun + HOUR).outcome == ADVANCED
    assert look(spec, stores, begun + 9 * HOUR).questions == 0  # a step counts what was asked in it


def test_a_breach_takes_it_back_at_the_next_look_and_says_why(
    spec: ModelSpec, stores: Stores, begun: datetime
) -> None:
    asked(stores, spec, begun, 200, challenger=None)
    found = look(spec, stores, begun + HOUR / 60)
    assert found.outcome == TAKEN_BACK
    assert "errors: it alone failed on 100.00% of the questions" in found.reason
    assert aliases(stores, spec) == (2, None)
    assert permitted(stores, spec) is None
    (*_, last) = stores.audit.entries(moves.subject(spec.name))
    assert (last.action, last.why) == ("take_back", found.reason)


def test_answers_that_differ_take_it_back_and_equal_ones_do_not(
    spec: ModelSpec, stores: Stores, begun: datetime
) -> None:
    asked(stores, spec, begun, 200, challenger=0.65)
    assert look(spec, stores, begun).outcome == BAKES
    asked(stores, spec, begun + HOUR / 60, 200, challenger=0.9)
    assert look(spec, stores, begun + HOUR / 30).outcome == TAKEN_BACK


def test_what_ended_is_told_again_to_who_was_killed_before_he_told(
    spec: ModelSpec, stores: Stores, begun: datetime
) -> None:
    asked(stores, spec, begun, 200, challenger=None)
    reason = look(spec, stores, begun + HOUR).reason
    assert look(spec, stores, begun + 2 * HOUR, since=begun).reason == reason
    with pytest.raises(NothingToDo):
        look(spec, stores, begun + 3 * HOUR, since=begun + 2 * HOUR)


@pytest.mark.parametrize("version", [4, 5])
def test_what_did_not_pass_is_never_asked_beside_the_champion(
    spec: ModelSpec, stores: Stores, version: int
) -> None:
    with_reason = pytest.raises(EvergreenError) if version == 5 else None
    if with_reason:
        with with_reason:
            moves.begin(spec, version, stores, datetime.now(UTC))
    else:
        assert "the champion stays" in moves.begin(spec, version, stores, datetime.now(UTC)).reason
    assert moves.current(spec.name, stores) is None
    assert aliases(stores, spec) == (2, None)
    assert permitted(stores, spec, version) is None


def test_one_rollout_at_a_time(spec: ModelSpec, stores: Stores, begun: datetime) -> None:
    assert "rolled out already" in moves.begin(spec, 1, stores, begun).reason
    assert len(stores.audit.entries(moves.subject(spec.name))) == 1


def test_a_person_ends_it_with_a_reason_and_is_named(
    spec: ModelSpec, stores: Stores, begun: datetime
) -> None:
    with pytest.raises(EvergreenError, match="reason"):
        moves.take_back(spec, stores, begun, " ")
    moves.take_back(spec, stores, begun, "the customer called")
    (*_, last) = stores.audit.entries(moves.subject(spec.name))
    assert (last.action, last.why, last.who) == ("take_back", "the customer called", stores.who)
    assert aliases(stores, spec) == (2, None)
    assert shown(spec, stores, begun).reason == "the customer called"


def test_another_champion_ends_it(spec: ModelSpec, stores: Stores, begun: datetime) -> None:
    """Its permit speaks of the champion that it was asked beside."""
    rollback(spec, stores, begun, "an accident", to=3)
    found = look(spec, stores, begun + HOUR)
    assert found.outcome == TAKEN_BACK
    assert found.reason.startswith("the champion is 3 now")
    assert aliases(stores, spec) == (3, None)


def test_one_that_gets_no_questions_is_given_up(spec: ModelSpec, stores: Stores, begun: datetime) -> None:
    assert look(spec, stores, begun + PLAN.longest).outcome == BAKES
    found = look(spec, stores, begun + PLAN.longest + HOUR)
    assert found.outcome == TAKEN_BACK
    assert "both were asked 0 questions in this step, of 20" in found.reason


@pytest.mark.parametrize("lost", ["alias", "permit", "both"])
def test_who_was_killed_between_log_and_registry_is_settled_by_who_comes_next(
    spec: ModelSpec, stores: Stores, begun: datetime, lost: str
) -> None:
    if lost in ("alias", "both"):
        stores.tracking.drop_alias(spec.name, CHALLENGER)
    if lost in ("permit", "both"):
        stores.tracking.tag(spec.name, 1, {"permit": "ended"})
    look(spec, stores, begun)
    assert aliases(stores, spec) == (2, 1)
    assert permitted(stores, spec) == 0


def test_an_alias_that_outlived_its_rollout_is_dropped(
    spec: ModelSpec, stores: Stores, begun: datetime
) -> None:
    kept = stores.tracking.version(spec.name, 1).tags["permit"]
    moves.take_back(spec, stores, begun, "enough")
    stores.tracking.tag(spec.name, 1, {"permit": kept})
    stores.tracking.set_alias(spec.name, CHALLENGER, 1)
    with pytest.raises(NothingToDo):
        look(spec, stores, begun)
    assert aliases(stores, spec) == (2, None)
    assert permitted(stores, spec) is None


def test_a_permit_is_for_one_file_alone_and_signed(spec: ModelSpec, stores: Stores, begun: datetime) -> None:
    tags = dict(stores.tracking.version(spec.name, 1).tags)
    assert permit_of(spec.name, 1, tags, stores.keys).champion == 2
    forged = tags | {"permit": tags["permit"].replace('"share": 0.0', '"share": 1.0')}
    assert forged != tags
    with pytest.raises(EvergreenError, match="not written by this deployment"):
        permit_of(spec.name, 1, forged, stores.keys)
    other = {"permit": tags["permit"], "digest": "0" * 64}
    with pytest.raises(EvergreenError, match="refused"):
        permit_of(spec.name, 1, other, stores.keys)


def test_what_is_rolled_out_is_not_retired(spec: ModelSpec, stores: Stores, begun: datetime) -> None:
    few = spec.model_copy(update={"promotion": spec.promotion.model_copy(update={"keep": 2})})
    assert retire(few, stores, begun, dry_run=True).kept[1] == "challenger"


def test_a_model_without_a_rollout_has_none_to_show(world: World, stores: Stores) -> None:
    with pytest.raises(EvergreenError, match="declare `rollout` in its spec"):
        moves.begin(world.spec, 1, stores, datetime.now(UTC))


def test_what_a_batch_says_is_a_share_of_its_questions() -> None:
    at = datetime.now(UTC)
    found = compared([Batch("a", "r", at, 4, 1, 2, 1, 1, None), Batch("b", "r", at, 2, 2, 0, 0, 0, 3.0)])
    assert found.alone.tolist() == [0.25, 1]
    assert found.other.tolist() == [0.5, 0]
    assert found.differ[0] == 1
    assert np.isnan([found.differ[1], found.times[0]]).all()
    assert found.times[1] == 3
    assert len(compared([]).alone) == 0


def test_a_rollout_that_ends_while_it_is_looked_at_is_not_taken_further(
    spec: ModelSpec, stores: Stores, begun: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(stores, spec, begun)
    seen = looking.evidence

    def slow(*given: Any) -> Any:
        moves.take_back(spec, stores, begun, "meanwhile")
        return seen(*given)

    monkeypatch.setattr(looking, "evidence", slow)
    with pytest.raises(NothingToDo):
        look(spec, stores, begun + HOUR)
    assert aliases(stores, spec) == (2, None)


def test_a_look_says_how_it_stands_without_changing_anything(
    spec: ModelSpec, stores: Stores, begun: datetime
) -> None:
    asked(stores, spec, begun)
    found = shown(spec, stores, begun + 5 * HOUR)
    assert isinstance(found, Look)
    assert (found.step, found.steps, found.share, found.outcome) == (1, 2, 0, BAKES)
    assert {each.test for each in found.findings} == {"errors", "latency", "agreement"}
    assert len(stores.audit.entries(moves.subject(spec.name))) == 1
