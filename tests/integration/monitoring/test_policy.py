"""Rules of what starts a training, on real stores: the ledger, MLflow and the monitors' signals."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipelines import catalog
from pipelines.catalog import ModelSpec, QuietHours
from pipelines.contracts import Cause, EvergreenError, NothingToDo, Signal, Waiting
from pipelines.monitoring import policy
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from tests.retrainings import HOUR, MODEL, NOW, copied, crowned, land, plan, train
from tests.training_sets import AS_OF, spec


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelSpec]:
    """Sets the small model's training policy."""

    def set_policy(**training: object) -> ModelSpec:
        small = spec()
        made = small.model_copy(update={"training": small.training.model_copy(update=training)})
        monkeypatch.setattr(catalog, "model", lambda name: made)
        return made

    set_policy()
    return set_policy


@pytest.fixture
def champion(model, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Stores whose version 1 is champion, trained at NOW on a file named first."""
    return copied(crowned(tmp_path_factory), tmp_path)


def signal(stores: Stores, cause: Cause = Cause.DECAY, at: datetime = NOW, as_of: datetime = AS_OF) -> bool:
    return stores.signals.record(Signal(MODEL, 1, as_of, cause, "it lost 0.2 more", at))


def causes(planned: dict) -> set[str]:
    return {reason["cause"] for reason in planned["reasons"]}


@pytest.mark.parametrize("woken", ["data event", "schedule", "person"])
def test_new_labels_start_a_training_whatever_wakes_it(stores: Stores, model, woken: str) -> None:
    land(stores, "first")
    land(stores, "second", rows=40)
    planned = plan(woken=woken)
    assert causes(planned) == {"data"}
    assert (planned["new_batches"], planned["new_rows"]) == (2, 540)
    assert planned["trigger"].startswith(woken)


def test_a_label_not_yet_known_starts_no_training(stores: Stores, model) -> None:
    land(stores, "tomorrow", known=AS_OF + timedelta(days=1))
    with pytest.raises(NothingToDo, match="no new label"):
        plan(woken="schedule")


def test_a_tick_with_nothing_new_ends_early_and_says_so(champion: Stores, model) -> None:
    for woken in ("schedule", "data event", "monitor"):
        with pytest.raises(NothingToDo, match=f"no new label and no change.*woken by {woken}"):
            plan(NOW + HOUR, woken=woken)


def test_few_labels_wait_for_the_schedule_and_no_longer(champion: Stores, model) -> None:
    land(champion, "few", rows=7)
    with pytest.raises(NothingToDo, match=r"7 new labels in 1 file, 200 start .* the schedule .* takes what"):
        plan(NOW + HOUR, woken="data event")
    assert plan(NOW + HOUR, woken="schedule")["new_rows"] == 7


def test_changed_code_starts_one_training_and_a_changed_card_none(
    champion: Stores, model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "code" / "models" / MODEL
    shutil.copytree(catalog.models()[MODEL].folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("pipelines.catalog.model_spec.HERE", tmp_path / "code")
    (copy / "CARD.md").write_text("better words")
    with pytest.raises(NothingToDo):
        plan(NOW + HOUR, woken="schedule")
    with (copy / "label.sql").open("a") as file:
        file.write("-- changed\n")
    planned = plan(NOW + HOUR, woken="schedule")
    assert causes(planned) == {"code change"}
    assert "version 1 was trained from" in planned["reasons"][0]["detail"]
    assert train(champion, planned, NOW + HOUR)[0]["version"] == 2
    with pytest.raises(NothingToDo):  # its candidate was not promoted; it is not tried again for ever
        plan(NOW + 2 * HOUR, woken="schedule")
    (copy / "label.sql").write_text((copy / "label.sql").read_text()[:-11])
    with pytest.raises(NothingToDo):  # back to what the champion was trained from
        plan(NOW + 3 * HOUR, woken="schedule")


@pytest.mark.parametrize("cause", [Cause.DRIFT, Cause.DECAY])
def test_a_signal_starts_a_training_on_however_few_new_labels_and_is_answered_once(
    champion: Stores, model, cause: Cause
) -> None:
    assert signal(champion, cause, NOW + HOUR)
    assert not signal(champion, cause, NOW + 2 * HOUR)
    land(champion, "few", rows=7)
    planned = plan(NOW + 3 * HOUR, woken="monitor")
    assert planned["trigger"] == cause.value
    assert causes(planned) == {"data", cause.value}
    assert champion.signals.pending(MODEL)  # planned is not answered
    train(champion, planned, NOW + 3 * HOUR, name="b", seed=1)
    assert champion.signals.pending(MODEL) == []
    land(champion, "more", rows=7)
    with pytest.raises(NothingToDo):
        plan(NOW + 4 * HOUR, woken="monitor")


def test_a_signal_without_a_new_label_starts_no_training_and_waits_for_one(champion: Stores, model) -> None:
    signal(champion, at=NOW + HOUR)
    for woken in ("monitor", "schedule"):
        with pytest.raises(NothingToDo, match=r"the decay of version 1 is known.*would change nothing"):
            plan(NOW + 2 * HOUR, woken=woken)
    land(champion, "few", rows=1)
    assert causes(plan(NOW + 3 * HOUR)) == {"data", "decay"}


def test_a_signal_that_came_while_a_training_ran_is_not_answered_by_it(champion: Stores, model) -> None:
    land(champion, "second")
    planned = plan(NOW + HOUR)
    signal(champion, at=NOW + HOUR + timedelta(minutes=5))
    train(champion, planned, NOW + HOUR + timedelta(minutes=10), name="b", seed=1)
    assert len(champion.signals.pending(MODEL)) == 1


def test_a_cool_down_holds_back_until_it_is_over_and_nothing_is_lost(champion: Stores, model) -> None:
    model(cool_down=6 * HOUR)
    land(champion, "second")
    for woken in ("data event", "schedule", "monitor", "person"):
        with pytest.raises(Waiting, match=r"waits until 2026-03-04 21:00:00 UTC for cool_down"):
            plan(NOW + HOUR, woken=woken)
    planned = plan(NOW + 6 * HOUR, woken="schedule")
    assert planned["new_rows"] == 500
    assert planned["waited"] == [
        "from 2026-03-04 16:00 UTC by cool_down: 6:00:00 after the training that began 2026-03-04 15:00 UTC"
    ]


def test_a_planned_training_that_never_began_cools_nothing_down(stores: Stores, model) -> None:
    model(cool_down=6 * HOUR)
    land(stores, "first")
    assert plan(NOW)["new_rows"] == plan(NOW + timedelta(minutes=1))["new_rows"]


@pytest.mark.parametrize("reason", ["data", "decay", "code"])
def test_quiet_hours_bind_data_signals_and_code(
    champion: Stores, model, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(quiet_hours=QuietHours.model_validate({"from": "06:00", "to": "11:00", "zone": "America/New_York"}))
    if reason == "code":
        monkeypatch.setattr(ModelSpec, "digest", "changed")
    else:
        land(champion, "second")
    if reason == "decay":
        signal(champion, at=NOW)
    with pytest.raises(Waiting, match=r"until 2026-03-04 16:00:00 UTC for quiet_hours \(06:00-11:00 America"):
        plan(NOW + timedelta(minutes=1), woken="schedule")
    assert plan(NOW + HOUR, woken="schedule")["reasons"]


def test_a_person_with_a_reason_overrides_every_policy_and_that_is_recorded(champion: Stores, model) -> None:
    hours = QuietHours.model_validate({"from": "00:00", "to": "23:59", "zone": "UTC"})
    model(cool_down=6 * HOUR, quiet_hours=hours)
    planned = plan(NOW + HOUR, woken="person", force=True, reason="the board asks")
    assert (planned["forced"], planned["trigger"]) == (True, "person: the board asks")
    made, _ = train(champion, planned, NOW + HOUR, name="b", seed=1)
    tags = champion.tracking.version(MODEL, made["version"]).tags
    assert (tags["forced"], tags["trigger"]) == ("true", "person: the board asks")
    assert tags["policy"].startswith("minimum_new_rows 200, cool_down 6:00:00, quiet_hours 00:00-23:59 UTC")
    assert tags["reasons"] == "person: the board asks"


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_a_person_who_forces_must_say_why(stores: Stores, model, reason: str | None) -> None:
    land(stores, "first")
    with pytest.raises(EvergreenError, match="needs a reason"):
        plan(woken="person", force=True, reason=reason)


def test_each_batch_is_consumed_by_one_training_and_named_in_its_record(champion: Stores, model) -> None:
    land(champion, "second")
    land(champion, "third")
    made, _ = train(champion, plan(NOW + HOUR), NOW + HOUR, name="b", seed=1)
    names = [batches(champion, version) for version in (1, made["version"])]
    assert names == [["first.csv"], ["second.csv", "third.csv"]]


def batches(stores: Stores, version: int) -> list[str]:
    from pipelines.record.why import why

    return [batch["name"] for batch in why(f"{MODEL}@{version}", NOW, stores)["batches"]]


def test_a_batch_that_lands_after_the_plan_is_new_to_the_next_training(champion: Stores, model) -> None:
    land(champion, "second")
    planned = plan(NOW + HOUR)
    land(champion, "meanwhile")
    made, _ = train(champion, planned, NOW + HOUR, name="b", seed=1)
    assert batches(champion, made["version"]) == ["second.csv"]
    assert plan(NOW + 2 * HOUR)["new_rows"] == 500


@pytest.mark.parametrize("cut", ["mark", "end"])
@pytest.mark.parametrize("retried", [True, False])
def test_a_crash_after_the_version_was_registered_loses_and_doubles_no_batch(
    champion: Stores, model, monkeypatch: pytest.MonkeyPatch, cut: str, retried: bool
) -> None:
    land(champion, "second")
    planned = plan(NOW + HOUR)
    with monkeypatch.context() as broken:
        kind = {"mark": type(champion.progress), "end": type(champion.signals)}[cut]
        broken.setattr(kind, cut, killed)
        with pytest.raises(KeyboardInterrupt):
            train(champion, planned, NOW + HOUR, name="b", seed=1)
    if retried:
        assert train(champion, planned, NOW + HOUR, name="b", seed=1)[0]["version"] == 2
    land(champion, "third")
    after = plan(NOW + 2 * HOUR)
    made, _ = train(champion, after, NOW + 2 * HOUR, name="c", seed=2)
    assert made["version"] == 3
    assert [batches(champion, version) for version in (2, 3)] == [["second.csv"], ["third.csv"]]


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_crash_before_the_version_leaves_its_batches_new(
    champion: Stores, model, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(champion, "second")
    planned = plan(NOW + HOUR)
    with monkeypatch.context() as broken:
        broken.setattr("pipelines.training.train.register", killed)
        with pytest.raises(KeyboardInterrupt):
            train(champion, planned, NOW + HOUR, name="b", seed=1)
    assert plan(NOW + 2 * HOUR)["new_rows"] == 500


def test_a_plan_nobody_made_is_refused(stores: Stores, model) -> None:
    with pytest.raises(EvergreenError, match="plan it again"):
        train(stores, {"key": "yesterday", "trigger": "person"})


def test_a_training_uses_the_code_that_its_digest_names(
    champion: Stores, model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler that imported the model before the change forks tasks that hold the old code."""
    from pipelines.models.flight_delays import estimator

    monkeypatch.setattr(estimator, "build", killed)
    land(champion, "second")
    assert train(champion, plan(NOW + HOUR), NOW + HOUR, name="b", seed=1)[0]["version"] == 2


def test_saying_no_loads_no_heavy_library(champion: Stores, model) -> None:
    script = f"""
import sys
from pipelines.contracts import NothingToDo
from pipelines.loop import steps
try:
    steps.plan({MODEL!r}, {AS_OF.isoformat()!r}, now={(NOW + HOUR).isoformat()!r}, woken="schedule")
except NothingToDo:
    heavy = "pandas sklearn mlflow feast great_expectations evidently"
    print(sorted(set(heavy.split()) & {{name.split(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert done.stdout.strip() == "[]"


def test_the_model_of_the_example_retrains_on_every_day_that_lands() -> None:
    real = catalog.models()[MODEL]
    assert real.training.cool_down == timedelta(0)
    assert real.training.quiet_hours is None
    assert policy.waits(real, None, NOW) == []
