"""Rules of rollback, anchor and retirement: one is back at once, if that can be, and nothing it needs is deleted."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import catalog
from pipelines.cli import app
from pipelines.contracts import EvergreenError
from pipelines.loop import summary
from pipelines.loop.doctor import examine
from pipelines.promotion.missing import missing
from pipelines.promotion.promote import override, promote
from pipelines.promotion.retire import retire
from pipelines.promotion.rollback import pin, possible, rollback
from pipelines.prove.promotion.world import World
from pipelines.settings import settings
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import ANCHOR, CHAMPION, PREVIOUS, Version
from pipelines.training.training_set import path_of
from tests.champions import copied, crowned, entries

NAME = "flight_delays"


@pytest.fixture
def world(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return copied(crowned(tmp_path_factory), tmp_path / "home")


@pytest.fixture
def stores(world: World) -> Stores:
    return world.stores


def now() -> datetime:
    return datetime.now(UTC)


def aliases(stores: Stores) -> tuple[int | None, ...]:
    return tuple(stores.tracking.named(NAME, alias) for alias in (CHAMPION, PREVIOUS, ANCHOR))


def test_a_rollback_goes_to_the_previous_champion_and_a_second_one_further_back(
    world: World, stores: Stores
) -> None:
    """1 was first and is the anchor, 2 replaced it; 3 is let through now."""
    override(world.spec, 3, stores, now(), "a try")
    assert aliases(stores) == (3, 2, 1)
    answer = rollback(world.spec, stores, now(), "it was a bad try")
    assert (answer.champion_version, answer.previous_version, aliases(stores)) == (2, 3, (2, 1, 1))
    assert rollback(world.spec, stores, now(), "2 is bad as well").champion_version == 1
    assert aliases(stores) == (1, None, 1)
    with pytest.raises(EvergreenError, match=r"no previous champion.*--to.*champions so far: 1, 2, 3"):
        rollback(world.spec, stores, now(), "further")


def test_a_rollback_is_told_with_who_and_why_and_what_was_left(world: World, stores: Stores) -> None:
    rollback(world.spec, stores, now(), "  complaints from Boston ", to=1)
    last = entries(world, stores)[-1]
    assert (last.action, last.who, last.why) == ("rollback", stores.who, "complaints from Boston")
    licence = stores.tracking.licence(stores.tracking.version(NAME, 1))
    assert last.evidence["champion"] == 1
    assert last.evidence["previous"] == 2
    assert (last.evidence["record"], last.evidence["decision"]) == (licence.record, "PASS")
    assert stores.audit.verify() == []


def test_a_rollback_takes_less_than_a_second(world: World, stores: Stores) -> None:
    rollback(world.spec, stores, now(), "to open what is opened once", to=1)
    took = []
    for to in (2, 1, 2, 1, 2):
        begun = time.process_time()
        rollback(world.spec, stores, now(), "to and fro", to=to)
        took.append(time.process_time() - begun)
    assert sorted(took)[2] < 1


@pytest.mark.parametrize(
    ("to", "said"), [(4, "has not passed its gate"), (5, "not passed"), (9, "no version 9"), (2, "already")]
)
def test_one_cannot_roll_back_to_what_never_passed_is_not_there_or_serves(
    world: World, stores: Stores, to: int, said: str
) -> None:
    before = len(entries(world, stores))
    with pytest.raises(EvergreenError, match=said):
        rollback(world.spec, stores, now(), "a reason", to)
    assert (len(entries(world, stores)), stores.tracking.named(NAME, CHAMPION)) == (before, 2)


def test_every_reason_against_a_rollback_is_named_at_once(
    world: World, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = stores.tracking.version(NAME, 1)
    assert possible(world.spec, version, stores) == []
    request = {name: field for name, field in world.spec.request.items() if name != "distance"}
    assert len(request) < len(world.spec.request)
    narrower = world.spec.model_copy(update={"request": request, "features": ("origin_weather:*",)})
    monkeypatch.setattr("pipelines.promotion.feasibility.libraries", lambda: {"scikit-learn": "0.1"})
    found = " ".join(possible(narrower, version, stores))
    for said in ("it takes distance", "origin_congestion__mean_departure_delay_1h", "here is 0.1"):
        assert said in found


def test_a_view_that_is_gone_or_not_online_stands_against_it(world: World, stores: Stores) -> None:
    from pipelines.promotion.feasibility import _columns, _views

    real = stores.tracking.version(NAME, 1)
    pinned = '{"origin_congestion": 7}'
    version = Version(**vars(real) | {"tags": {**real.tags, "feature_views": pinned}})
    assert "is not known any more" in " ".join(_views(version, stores))
    definition = '{"spec": {"features": [{"name": "another"}]}}'
    kept = stores.features.registered
    for digest in "abcdefg":
        kept.register("origin_congestion", digest, "select 1", definition)
    assert "is not online" in " ".join(_views(version, stores))
    stores.progress.mark("feature:origin_congestion@v7", (), now())
    assert list(_views(version, stores)) == []
    said = " ".join(_columns(world.spec, real, stores))
    assert said == ""


def test_a_model_file_that_cannot_be_had_or_was_changed_stands_against_it(
    world: World, stores: Stores
) -> None:
    own = stores.settings.home / "models" / NAME / "1" / "model.skops"
    source = model_files(world)
    assert source
    held = {path: path.read_bytes() for path in source}
    own.unlink(missing_ok=True)
    try:
        for path in source:
            path.write_bytes(b"x")
        with pytest.raises(EvergreenError, match=r"cannot roll .* its model file .*The champion stays"):
            rollback(world.spec, stores, now(), "a reason", to=1)
    finally:
        for path, content in held.items():
            path.write_bytes(content)
    assert stores.tracking.named(NAME, CHAMPION) == 2


def model_files(world: World) -> list[Path]:
    """Every model file where MLflow keeps it: in the home that was copied."""
    experiment = world.stores.tracking.client.get_experiment_by_name(NAME)
    folder = Path(experiment.artifact_location.removeprefix("file://"))
    return list(folder.glob("**/model.skops"))


def test_the_anchor_is_the_first_champion_until_a_person_pins_another(world: World, stores: Stores) -> None:
    assert stores.tracking.named(NAME, ANCHOR) == 1
    pin(world.spec, 2, stores, now(), "a good month")
    assert stores.tracking.named(NAME, ANCHOR) == 2
    first, second = stores.audit.entries(f"anchor:{NAME}", "pin")
    assert (first.evidence, second.evidence, second.why) == ({"anchor": 1}, {"anchor": 2}, "a good month")
    with pytest.raises(EvergreenError, match="has not passed"):
        pin(world.spec, 4, stores, now(), "no")
    stores.tracking.set_alias(NAME, ANCHOR, 1)
    rollback(world.spec, stores, now(), "the alias follows the log", to=1)
    assert stores.tracking.named(NAME, ANCHOR) == 2


def eager(world: World, keep: int = 2):
    """The model, keeping as few versions as it may."""
    promotion = world.spec.promotion.model_copy(update={"keep": keep})
    return world.spec.model_copy(update={"promotion": promotion})


def test_what_serving_a_rollback_or_a_person_may_need_is_never_retired(world: World, stores: Stores) -> None:
    done = retire(eager(world), stores, now())
    assert done.retired == []
    newest = "one of the newest 2"
    assert done.kept == {1: "previous", 2: "champion", 3: "overridden", 4: newest, 5: newest}


def test_a_retired_version_loses_its_files_and_keeps_its_record_and_cannot_come_back(
    world: World, stores: Stores
) -> None:
    """Version 3 failed; without its override nothing holds it."""
    name, spec = world.spec.name, eager(world)
    stores.tracking.client.delete_model_version_tag(name, "3", "licence")
    version = stores.tracking.version(name, 3)
    kept = path_of(name, stores.tracking.version(name, 1).tags["training_set"], stores)
    rows = path_of(name, version.tags["training_set"], stores)
    stores.tracking.file(version)
    own = stores.settings.home / "models" / name / "3" / "model.skops"
    assert own.exists()
    assert rows.exists()
    dry = retire(spec, stores, now(), dry_run=True)
    assert (dry.retired, dry.dry_run, own.exists()) == ([3], True, True)
    assert dry.files >= 2
    with pytest.MonkeyPatch.context() as patch:
        deleted: list[str] = []
        patch.setattr(
            "mlflow.store.artifact.local_artifact_repo.LocalArtifactRepository.delete_artifacts",
            lambda _, path=None: deleted.append(path),
        )  # the first home is other tests' as well
        assert retire(spec, stores, now()).retired == [3]
        assert retire(spec, stores, now()).retired == [], "done once"
        assert any(path.endswith("model.skops") for path in deleted)
    assert not own.exists()
    assert not rows.exists()
    assert kept.exists()
    assert (stores.settings.home / "decisions" / name / "3.json").exists()
    (entry,) = stores.audit.entries(f"model:{name}@3", "retire")
    assert entry.evidence["digest"] == version.digest
    for act in (
        lambda: promote(spec, 3, stores, now()),
        lambda: override(spec, 3, stores, now(), "please"),
        lambda: rollback(spec, stores, now(), "please", to=3),
        lambda: pin(spec, 3, stores, now(), "please"),
    ):
        with pytest.raises(EvergreenError, match="was retired at"):
            act()
    assert len(stores.audit.entries(f"model:{name}@3", "retire")) == 1


def test_the_commands_say_what_they_did_and_end_as_they_should(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(world.home))
    monkeypatch.setattr(catalog, "model", lambda name: world.spec)
    settings.cache_clear()

    def told(*asked: str) -> tuple[int, str]:
        answer = CliRunner().invoke(app, list(asked), env={"COLUMNS": "200"}, catch_exceptions=False)
        return answer.exit_code, " ".join(answer.output.split())

    assert told("rollback", NAME) == (2, told("rollback", NAME)[1])
    assert told("rollback", NAME, "--reason", "r")[0] == 0
    code, said = told("rollback", NAME, "--reason", "r")
    assert (code, "no previous champion" in said) == (1, True)
    code, said = told("override", f"{NAME}@3", "--reason", "shown to the board")
    assert (code, "overridden: shown to the board" in said) == (0, True)
    assert told("approve", f"{NAME}@3", "--reason", "r")[0] == 1
    assert told("pin", NAME)[0] == 1
    assert told("pin", f"{NAME}@2")[0] == 0
    code, said = told("retire", NAME, "--dry-run")
    assert (code, "Would retire versions: none" in said) == (0, True)
    assert told("promote", NAME, "--version", "4")[0] == 3


def deleted(stores: Stores, *versions: int) -> None:
    """As somebody does it by hand in MLflow's UI."""
    for version in versions:
        stores.tracking.client.delete_model_version(NAME, str(version))


def test_the_oldest_champion_left_takes_the_place_of_an_anchor_that_was_deleted(
    world: World, stores: Stores
) -> None:
    deleted(stores, 1)
    pin(world.spec, 2, stores, now(), "another, as it is")
    first, heir, person = stores.audit.entries(f"anchor:{NAME}", "pin")
    assert (first.evidence, heir.evidence) == ({"anchor": 1}, {"anchor": 2, "instead_of": 1})
    assert "version 1, the anchor, was deleted in MLflow" in heir.why
    assert person.evidence == {"anchor": 2}
    assert stores.tracking.named(NAME, ANCHOR) == 2
    assert stores.audit.verify() == []


def test_with_no_champion_left_to_be_anchor_there_is_none_and_each_way_back_says_so(
    world: World, stores: Stores
) -> None:
    deleted(stores, 1, 2)
    with pytest.raises(
        EvergreenError, match=r"version 1 was deleted .*champions so far: 1 \(deleted\), 2 \(del"
    ):
        rollback(world.spec, stores, now(), "a reason")
    with pytest.raises(EvergreenError, match="has no version 1"):
        rollback(world.spec, stores, now(), "a reason", to=1)
    assert stores.tracking.named(NAME, ANCHOR) is None
    assert len(stores.audit.entries(f"anchor:{NAME}", "pin")) == 1
    last = entries(world, stores)[-1]
    assert (last.action, last.evidence) == ("foreign", {"champion": None, "recorded": 2})


def test_a_champion_that_was_deleted_is_replaced_by_a_rollback(world: World, stores: Stores) -> None:
    deleted(stores, 2)
    done = rollback(world.spec, stores, now(), "somebody deleted the champion")
    assert (done.champion_version, done.previous_version) == (1, None)
    assert (stores.tracking.named(NAME, CHAMPION), stores.tracking.named(NAME, PREVIOUS)) == (1, None)
    assert missing(NAME, stores) == []


@pytest.mark.parametrize(
    ("gone", "roles"),
    [
        ((), []),
        ((1,), ["version 1, what a rollback goes to", "version 1, the anchor"]),
        ((2,), ["version 2, the champion"]),
        ((1, 2), ["version 2, the champion", "version 1, what a rollback", "version 1, the anchor"]),
        ((3, 4), []),
    ],
)
def test_a_version_that_was_deleted_is_named_by_status_and_doctor_with_what_to_do(
    world: World, stores: Stores, gone: tuple[int, ...], roles: list[str]
) -> None:
    deleted(stores, *gone)
    found = missing(NAME, stores)
    assert len(found) == len(roles)
    for said, role in zip(found, roles, strict=True):
        assert role in said
        assert f"evergreen {'rollback' if 'anchor' not in role else 'pin'} {NAME}" in said
    (checked,) = [f for f in examine(stores.settings) if f["check"] == "champions"]
    assert checked["ok"] is not bool(roles)
    assert not roles or all(said in checked["detail"] for said in found)
    assert summary.model(NAME, stores)["missing"] == found


def test_a_move_to_a_version_that_was_deleted_after_a_crash_is_told_as_interrupted(
    world: World, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(stores.tracking), "set_alias", killed)
        with pytest.raises(Killed):
            rollback(world.spec, stores, now(), "cut off", to=1)
    deleted(stores, 1)
    pin(world.spec, 2, stores, now(), "what is left")
    assert entries(world, stores)[-1].action == "interrupted"
