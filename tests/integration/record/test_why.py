"""Rules of the story `evergreen why` tells."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import catalog
from pipelines.catalog import Rollout
from pipelines.cli import app
from pipelines.contracts import Cause, EvergreenError, Signal, Waiting
from pipelines.loop import steps
from pipelines.promotion.promote import promote
from pipelines.record.why import why
from pipelines.rollout import moves
from pipelines.stores import Stores
from tests.retrainings import HOUR, MODEL, NOW, copied, crown, crowned, land, plan, train
from tests.training_sets import AS_OF, spec


@pytest.fixture
def kept(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """Stores whose version 1 is champion."""
    small = spec()
    monkeypatch.setattr(catalog, "model", lambda name: small)
    return copied(crowned(tmp_path_factory), tmp_path)


def refused(stores: Stores) -> dict:
    """A second version that learned nothing and failed its gate, after a cool-down had held it back."""
    land(stores, "noise")
    cooled = spec()
    cooled = cooled.model_copy(
        update={"training": cooled.training.model_copy(update={"cool_down": timedelta(hours=2)})}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "model", lambda name: cooled)
        with pytest.raises(Waiting):
            plan(NOW + HOUR)
        planned = plan(NOW + 2 * HOUR, woken="schedule")
    return crown(stores, planned, NOW + 2 * HOUR, name="n", seed=1, signal=0.0)


def told(*asked: str) -> tuple[int, str]:
    answer = CliRunner().invoke(app, ["why", *asked], env={"COLUMNS": "200"}, catch_exceptions=False)
    return answer.exit_code, " ".join(answer.output.split())


def test_the_first_versions_story_is_whole(kept: Stores) -> None:
    story = why(MODEL, NOW + HOUR, kept)
    assert (story["version"], story["is_champion"]) == (1, True)
    assert story["trained"]["woken_by"] == "data event"
    assert story["trained"]["as_of"] == AS_OF.isoformat()
    assert story["trained"]["reasons"] == [{"cause": "data", "detail": "500 new labels in 1 file"}]
    assert story["trained"]["waited"] == []
    (batch,) = story["batches"]
    assert (batch["name"], batch["silver"]) == ("first.csv", 500)
    assert batch["first_known"] < batch["last_known"] <= AS_OF.isoformat()
    assert story["gate"]["decision"] == "PASS"
    assert len(story["gate"]["rules"]) >= 5
    tenure = {"since": NOW.isoformat(), "replaced": None, "replaced_by": None, "until": None}
    assert story["tenure"] == tenure | {"by": kept.who, "because": "passed its gate", "decision": "PASS"}
    assert story["next"]["rows"] == 0


def test_a_refused_versions_story_names_the_rule_and_what_held_it_back(kept: Stores) -> None:
    assert not refused(kept)["promoted"]
    story = why(f"{MODEL}@2", NOW + 3 * HOUR, kept)
    assert story["gate"]["decision"] == "FAIL"
    assert "because of: roc_auc floor" in story["gate"]["explanation"]
    assert story["trained"]["woken_by"] == "schedule"
    assert story["trained"]["waited"][0].startswith("from 2026-03-04 16:00 UTC by cool_down")
    assert (story["is_champion"], story["tenure"]["since"]) == (False, None)
    assert why(MODEL, NOW, kept)["version"] == 1


def test_a_successors_story_and_its_predecessors_fit_together(kept: Stores) -> None:
    land(kept, "second")
    assert crown(kept, plan(NOW + HOUR), NOW + HOUR, name="b")["promoted"]
    new, old = why(MODEL, NOW, kept), why(f"{MODEL}@1", NOW, kept)
    since = (NOW + HOUR).isoformat()
    assert (new["version"], new["tenure"]["replaced"], new["tenure"]["since"]) == (2, 1, since)
    assert (old["tenure"]["replaced_by"], old["tenure"]["until"]) == (2, since)
    assert not old["is_champion"]


def test_a_crash_between_the_move_and_its_note_is_told_all_the_same(
    kept: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(kept, "second")
    candidate, rows = train(kept, plan(NOW + HOUR), NOW + HOUR, name="b")
    steps.evaluate(MODEL, candidate, rows)
    with monkeypatch.context() as crash:
        crash.setattr("pipelines.promotion.champions._finish", lambda *_: None)
        assert promote(spec(), 2, kept, NOW + HOUR).promoted
    assert kept.audit.entries(f"champion:{MODEL}")[-1].action == "intend"
    told_early = why(MODEL, NOW, kept)["tenure"]
    steps.promote(MODEL, 2, now=(NOW + 2 * HOUR).isoformat())
    assert kept.audit.entries(f"champion:{MODEL}")[-1].action == "promote"
    assert why(MODEL, NOW, kept)["tenure"] == told_early
    assert (told_early["since"], told_early["replaced"]) == ((NOW + HOUR).isoformat(), 1)


def test_a_rollout_is_told_step_by_step(kept: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_ = Rollout.model_validate({"steps": [{"share": 0}]})
    rolled = spec().model_copy(update={"rollout": plan_})
    monkeypatch.setattr(catalog, "model", lambda name: rolled)
    land(kept, "second")
    answer = crown(kept, plan(NOW + HOUR), NOW + HOUR, name="b")
    assert (answer["promoted"], answer["champion_version"]) == (False, 1)
    assert "step 1 of 1" in answer["reason"]
    again = CliRunner().invoke(app, ["promote", MODEL, "--version", "2"], env={"COLUMNS": "200"})
    assert (again.exit_code, "rolled out already" in " ".join(again.output.split())) == (0, True)
    moves.take_back(rolled, kept, NOW + 2 * HOUR, "the customer called")
    story = why(f"{MODEL}@2", NOW, kept)["rollout"]
    assert [(each["what"], each["champion"]) for each in story] == [("roll_out", 1), ("take_back", 1)]
    _, said = told(f"{MODEL}@2")
    assert "taken back from beside version 1" in said


def test_the_same_question_asked_again_is_told(kept: Stores) -> None:
    planned = plan(NOW + HOUR, woken="person", force=True, reason="to be sure")
    assert train(kept, planned, NOW + HOUR)[0]["version"] == 1
    (again,) = why(MODEL, NOW, kept)["asked_again"]
    assert again == {"at": (NOW + HOUR).isoformat(), "woken_by": "person: to be sure"}


def test_what_waits_now_is_told(kept: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.features.watermark.watermark", lambda *_: AS_OF)
    land(kept, "second", rows=70)
    kept.signals.record(Signal(MODEL, 1, AS_OF, Cause.DECAY, "it lost 0.2 more", NOW + HOUR))
    coming = why(MODEL, NOW + HOUR, kept)["next"]
    assert (coming["batches"], coming["rows"], coming["waits"]) == (1, 70, [])
    assert coming["signals"][0]["detail"] == "it lost 0.2 more"
    code, said = told(MODEL)
    assert code == 0
    assert "70 new labels in 1 file" in said
    assert "decay of version 1: it lost 0.2 more" in said


def test_a_person_on_call_reads_it_and_a_machine_too(kept: Stores) -> None:
    refused(kept)
    code, said = told(f"{MODEL}@2")
    assert code == 0
    for words in (
        "woken by",
        "schedule",
        "500 new labels in 1 file",
        "noise.csv",
        "FAIL",
        "roc_auc floor",
        "never",
    ):
        assert words in said
    answer = CliRunner().invoke(app, ["why", f"{MODEL}@2", "--json"])
    assert json.loads(answer.output)["gate"]["decision"] == "FAIL"


def test_a_version_trained_without_a_plan_has_a_story_too(kept: Stores) -> None:
    kept.tracking.client.delete_model_version_tag(MODEL, "1", "training")
    story = why(MODEL, NOW, kept)
    assert (story["batches"], story["trained"]["reasons"]) == ([], [])
    assert told(MODEL)[0] == 0


def test_a_version_that_was_not_judged_says_so(kept: Stores) -> None:
    land(kept, "second")
    train(kept, plan(NOW + HOUR), NOW + HOUR, name="b", seed=1)
    gate = why(f"{MODEL}@2", NOW, kept)["gate"]
    assert gate["decision"] is None
    assert "evergreen evaluate" in gate["explanation"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (f"{MODEL}@99", f"{MODEL}@99 does not exist; versions: 1$"),
        (f"{MODEL}@newest", "'newest' is no version of flight_delays; versions: 1"),
        (f"{MODEL}@-1", "'-1' is no version"),
    ],
)
def test_a_version_that_is_not_there_is_answered_with_those_that_are(
    kept: Stores, asked: str, said: str
) -> None:
    with pytest.raises(EvergreenError, match=said):
        why(asked, NOW, kept)


def test_an_unknown_model_lists_what_there_is() -> None:
    code, said = told("flight_delay")
    assert code == 1
    assert "no model named 'flight_delay'; there are: airport_hours, card_fraud, flight_delays" in said


def test_a_model_without_version_or_champion_names_the_remedy(stores: Stores, kept: Stores) -> None:
    kept.tracking.client.delete_registered_model_alias(MODEL, "champion")
    with pytest.raises(EvergreenError, match="has no champion; name a version such as flight_delays@1"):
        why(MODEL, NOW, kept)
    kept.tracking.client.delete_model_version(MODEL, "1")
    with pytest.raises(EvergreenError, match="has no version yet; `evergreen train flight_delays` makes one"):
        why(MODEL, NOW, kept)
