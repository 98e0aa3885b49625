"""Rules of promotion, approval and override: only what was judged, in one write, in somebody's name."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.contracts import EvergreenError, NothingToDo
from pipelines.gate import notary
from pipelines.promotion import approval, champions
from pipelines.promotion.overview import overview
from pipelines.promotion.promote import override, promote
from pipelines.prove.promotion import start
from pipelines.prove.promotion.world import World
from pipelines.record.why import _tenure
from pipelines.stores import Stores
from pipelines.stores.audit.log import Audit
from pipelines.stores.tracking.registry import CHAMPION, PREVIOUS, Tracking
from tests.champions import copied, crowned, entries

HOUR = timedelta(hours=1)


@pytest.fixture
def world(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return copied(crowned(tmp_path_factory), tmp_path / "home")


@pytest.fixture
def stores(world: World) -> Stores:
    return world.stores


def now() -> datetime:
    return datetime.now(UTC)


def champion(world: World, stores: Stores) -> int | None:
    return stores.tracking.named(world.spec.name, CHAMPION)


def test_a_promotion_moves_the_alias_keeps_the_previous_one_and_is_told_once(
    world: World, stores: Stores
) -> None:
    """Version 2 is champion, and version 1 was judged again against it."""
    assert champion(world, stores) == 2
    answer = promote(world.spec, 1, stores, now())
    assert (answer.promoted, answer.previous_version, champion(world, stores)) == (True, 2, 1)
    assert stores.tracking.named(world.spec.name, PREVIOUS) == 2
    intent, outcome = entries(world, stores)[-2:]
    assert (intent.action, outcome.action) == ("intend", "promote")
    version = stores.tracking.version(world.spec.name, 1)
    assert outcome.evidence == {
        "model": world.spec.name, "action": "promote", "champion": 1, "previous": 2, "digest": version.digest,
        "record": version.tags["record_digest"], "decision": "PASS",
    }  # fmt: skip
    assert stores.tracking.licence(version).record == version.tags["record_digest"]
    assert stores.audit.verify() == []


@pytest.mark.parametrize(
    "at", ["before the licence", "before the alias", "after the alias", "before the outcome"]
)
def test_a_promoter_that_dies_anywhere_leaves_what_the_next_one_settles(
    world: World, stores: Stores, at: str
) -> None:
    end = _killed_at(at, world)
    assert end == -signal.SIGKILL, f"it lived on: {end}"
    moved = at in {"after the alias", "before the outcome"}
    assert champion(world, stores) == (1 if moved else 2)
    assert entries(world, stores)[-1].action == "intend"
    assert champions.tenures(world.spec.name, stores)[-1].version == champion(world, stores)
    with champions.turn(world.spec.name, stores, now()):
        pass
    intent, outcome = entries(world, stores)[-2:]
    assert outcome.action == ("promote" if moved else "interrupted")
    assert outcome.at == intent.at
    answer = promote(world.spec, 1, stores, now())
    assert answer.promoted is not moved
    assert (champion(world, stores), stores.tracking.named(world.spec.name, PREVIOUS)) == (1, 2)
    stores.tracking.licence(stores.tracking.version(world.spec.name, 1))
    assert stores.audit.verify() == []


PLACES = {
    "before the licence": (Tracking, "tag", 1),
    "before the alias": (Tracking, "set_alias", 1),
    "after the alias": (Tracking, "set_alias", 2),
    "before the outcome": (Audit, "append", 2),
}


def _killed_at(at: str, world: World) -> int | None:
    """How a process ended that promotes version 1 and is killed at this place."""
    process = start(_dies, at, world)
    process.join(300)
    return process.exitcode


def _dies(at: str, world: World) -> None:
    """Promotes version 1 in a process of its own, and is killed where it calls a method the nth time."""
    kind, name, left = PLACES[at]
    inner, calls = getattr(kind, name), [0]

    def fatal(self, *arguments, **named):
        calls[0] += 1
        if calls[0] == left:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(self, *arguments, **named)

    setattr(kind, name, fatal)
    promote(world.spec, 1, world.stores, now())


def test_of_two_promoters_one_wins_and_the_other_is_told(world: World) -> None:
    before = len(entries(world, world.stores))
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda _: promote(world.spec, 1, world.stores, now()), range(2)))
    assert sorted(answer.promoted for answer in said) == [False, True]
    (loser,) = [answer for answer in said if not answer.promoted]
    assert "already" in loser.reason or "judge again" in loser.reason
    assert [entry.action for entry in entries(world, world.stores)[before:]] == ["intend", "promote"]


def test_a_version_that_is_judged_again_while_the_notary_looks_is_not_promoted(
    world: World, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    attested = notary.attested

    def meanwhile(*arguments):
        found = attested(*arguments)
        stores.tracking.tag(world.spec.name, 1, {"record_digest": "0" * 64})
        return found

    monkeypatch.setattr(notary, "attested", meanwhile)
    answer = promote(world.spec, 1, stores, now())
    assert not answer.promoted
    assert "judge" in answer.reason
    assert champion(world, stores) == 2


def test_a_verdict_is_good_for_so_long(world: World, stores: Stores) -> None:
    late = now() + world.spec.promotion.verdict_valid + HOUR
    answer = promote(world.spec, 1, stores, late)
    assert not answer.promoted
    assert "judge again" in answer.reason
    assert entries(world, stores)[-1].action != "intend", "a refusal intends nothing"


def test_where_approval_is_asked_nothing_is_promoted_without_it(world: World, stores: Stores) -> None:
    asking = _asking(world)
    refused = promote(asking, 1, stores, now())
    assert not refused.promoted
    assert "evergreen approve" in refused.reason
    approval.answer(asking, 1, False, stores, now(), "not today")
    assert not promote(asking, 1, stores, now()).promoted
    entry = approval.answer(asking, 1, True, stores, now(), "looked at it")
    assert (entry.action, entry.who, entry.why) == ("approve", stores.who, "looked at it")
    assert promote(asking, 1, stores, now()).promoted


def test_an_approval_is_for_one_record_and_one_file(world: World, stores: Stores) -> None:
    version = stores.tracking.version(world.spec.name, 1)
    approval.answer(world.spec, 1, True, stores, now(), "looked at it")
    assert approval.approved(version, stores)
    assert not approval.approved(replace(version, digest="0" * 64), stores)
    assert not approval.approved(replace(version, tags={**version.tags, "record_digest": "0" * 64}), stores)
    with pytest.raises(EvergreenError, match="judged again since"):
        approval.answer(world.spec, 1, True, stores, now(), "looked at it", asked="0" * 64)


def test_only_what_passed_is_put_before_a_person(world: World, stores: Stores) -> None:
    asked = approval.question(world.spec, 1, stores)
    assert "version 1" in asked["subject"]
    assert asked["record"] in asked["body"]
    assert asked["body"].count("| PASS |") >= 5
    for version in (3, world.refused[0]):
        with pytest.raises(NothingToDo, match="nobody is asked"):
            approval.question(world.spec, version, stores)
        with pytest.raises(EvergreenError, match="only one that passed"):
            approval.answer(world.spec, version, True, stores, now(), "please")


@pytest.mark.parametrize("who", ["evergreen", "airflow: retrain_m/run", "", " "])
def test_no_machine_overrides_approves_or_goes_without_a_reason(world: World, who: str) -> None:
    machine, person = replace(world.stores, who=who), world.stores
    for stores, reason, said in (
        (machine, "a reason", "person's decision"),
        (person, "  ", "needs a reason"),
    ):
        with pytest.raises(EvergreenError, match=said):
            override(world.spec, 3, stores, now(), reason)
        with pytest.raises(EvergreenError, match=said):
            approval.answer(world.spec, 1, True, stores, now(), reason)


def test_an_override_shows_wherever_the_version_is_shown(world: World, stores: Stores) -> None:
    assert override(world.spec, 3, stores, now(), "the customer asked for it").promoted
    assert champion(world, stores) == 3
    licence = stores.tracking.licence(stores.tracking.version(world.spec.name, 3))
    assert (licence.decision, licence.by, licence.why) == (
        "OVERRIDE",
        stores.who,
        "the customer asked for it",
    )
    assert entries(world, stores)[-1].evidence["decision"] == "OVERRIDE"
    (shown,) = [v for v in overview(world.spec, stores)["versions"] if v["version"] == 3]
    assert (shown["verdict"], shown["override"]["by"]) == ("FAIL", stores.who)
    (entry,) = stores.audit.entries(f"model:{world.spec.name}@3", "override")[-1:]
    assert (entry.why, entry.evidence["decision"]) == ("the customer asked for it", "FAIL")
    assert _tenure(stores.tracking.version(world.spec.name, 3), stores)["decision"] == "OVERRIDE"


def test_an_override_skips_neither_digest_nor_signature_nor_judgement(world: World, stores: Stores) -> None:
    name, unjudged = world.spec.name, world.refused[1]
    with pytest.raises(EvergreenError, match="was not judged"):
        override(world.spec, unjudged, stores, now(), "please")
    with pytest.raises(EvergreenError, match="already"):
        override(world.spec, 2, stores, now(), "please")
    stores.tracking.tag(name, 3, {"training_set": "another"})
    with pytest.raises(EvergreenError, match=r"cannot serve, whoever wants it: .*signature"):
        override(world.spec, 3, stores, now(), "please")
    assert champion(world, stores) == 2


def test_an_alias_that_a_hand_moved_is_told_and_moved_back_by_a_rollback(
    world: World, stores: Stores
) -> None:
    from pipelines.promotion.rollback import rollback

    stores.tracking.set_alias(world.spec.name, CHAMPION, world.refused[0])
    rollback(world.spec, stores, now(), "who did that?", 2)
    found = entries(world, stores)
    assert [e.action for e in found[-3:]] == ["foreign", "intend", "rollback"]
    assert found[-3].evidence == {"champion": world.refused[0], "recorded": 2}
    assert champion(world, stores) == 2


def test_the_logs_times_never_go_back(world: World, stores: Stores) -> None:
    assert promote(world.spec, 1, stores, now() - HOUR).promoted
    times = [entry.at for entry in entries(world, stores)]
    assert len(times) > 4
    assert times == sorted(times)


def _asking(world: World):
    promotion = world.spec.promotion.model_copy(update={"approval": True})
    return world.spec.model_copy(update={"promotion": promotion})
