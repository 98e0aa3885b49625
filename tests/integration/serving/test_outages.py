"""Rules of outages: what serving leans on is gone, slow or wrong; it answers from what it holds, and loses nothing."""

import fcntl
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipelines.contracts import EvergreenError, TransientError
from pipelines.prove.promotion.world import World as Champions
from pipelines.serving import __main__ as serving
from pipelines.serving.app import create_app
from pipelines.serving.causes import Cause
from pipelines.serving.follower import Follower
from pipelines.serving.metrics import Metrics
from pipelines.serving.outages import deadline, remembered, spool
from pipelines.serving.outages.deadline import Deadline, Hung, PromptFeatures
from pipelines.serving.outages.fetching import Fetching, Underway
from pipelines.serving.outages.remembered import Remembered
from pipelines.serving.outages.spool import Spool
from pipelines.serving.predictor import Loading, Predictor
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import CHAMPION
from tests.champions import copied, crowned
from tests.integration.serving.test_archive import MODEL, answer
from tests.integration.serving.worlds import SPEC, FeatureTable, Models, Version, World, wait


class Holding:
    """Stands for a back end: `hold` makes calls wait until `let` is called, `broken` makes them fail."""

    def __init__(self, behind: Any) -> None:
        self.behind, self.broken = behind, False
        self._free = threading.Event()
        self._free.set()

    def hold(self) -> None:
        self._free.clear()

    def let(self) -> None:
        self._free.set()

    def __getattr__(self, name: str) -> Any:
        def called(*given: Any) -> Any:
            self._free.wait(30)
            if self.broken:
                raise ConnectionError("it is gone")
            return getattr(self.behind, name)(*given)

        return called


@pytest.fixture
def log(stores: Stores) -> Holding:
    assert stores.predictions.count(MODEL) == 0  # its tables are there
    return Holding(stores.predictions)


@pytest.fixture
def kept(log: Holding, tmp_path: Path) -> Iterator[Spool]:
    made = Spool(log, tmp_path / "spool", 0.2)
    assert made.get("nobody's") is None  # the first call may take longer
    yield made
    log.let()


@pytest.fixture
def outworld(stores: Stores, pipeline: Any, log: Holding, kept: Spool) -> Iterator[tuple[World, Holding]]:
    """An app whose log and features can be held up."""
    features = Holding(FeatureTable())
    models = Models(Version(1, "one"), {1: pipeline})
    quick = Settings(_env_file=None, home=stores.settings.home, serving_poll_seconds=0.02)
    app = create_app(
        quick,
        {SPEC.name: SPEC},
        models,
        PromptFeatures(features, 0.2),
        kept,
        notes=lambda: ["waits on this disk"] if kept.waiting else [],
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        made = World(app, client, models, features, stores)  # type: ignore[arg-type]
        wait(lambda: made.serving() == 1)
        yield made, features
        features.let()


def test_features_that_hang_degrade_answers_and_hold_up_one_of_them(
    outworld: tuple[World, Holding], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, features = outworld
    assert not world.ask().json()["degraded"]
    features.hold()
    begun = time.monotonic()
    replies = [world.ask() for _ in range(5)]
    assert {reply.status_code for reply in replies} == {200}
    assert all(reply.json()["degraded"] for reply in replies)
    assert time.monotonic() - begun < 5 * 0.2 + 2  # one waited; the others were told at once
    monkeypatch.setattr(deadline, "AGAIN", 0.0)
    features.let()
    wait(lambda: not world.ask().json()["degraded"])
    assert world.ask().json()["missing_features"] == []


@pytest.mark.parametrize("how", ["gone", "hangs"])
def test_without_the_database_answers_leave_and_lie_on_this_disk_until_it_is_back(
    outworld: tuple[World, Holding], log: Holding, kept: Spool, how: str
) -> None:
    world, _ = outworld
    before = world.ask().json()
    log.broken = how == "gone"
    if how == "hangs":
        log.hold()
    replies = [world.ask() for _ in range(6)]
    assert {reply.status_code for reply in replies} == {200}
    assert "waits on this disk" in replies[-1].json()["warnings"]
    ready = world.client.get("/ready")
    assert (ready.status_code, ready.json()["notes"]) == (200, ["waits on this disk"])
    assert kept.waiting == 6
    assert spooled(world) > 6 * 100
    log.broken = False
    log.let()
    wait(lambda: (kept.move(), not kept.waiting)[1])  # type: ignore[func-returns-value]
    given = {before["prediction_id"], *(reply.json()["prediction_id"] for reply in replies)}
    logged = world.stores.predictions.recent(MODEL, 100)
    assert {each.prediction_id for each in logged} == given
    assert len(logged) == len(given)
    assert "notes" not in world.client.get("/ready").json()
    assert not list((world.stores.settings.home / "spool").glob("*"))
    assert spooled(world) == 0


def spooled(world: World) -> float:
    """Bytes on this disk, as a scrape tells it."""
    (said,) = re.findall(r"(?m)^evergreen_spooled_bytes (\S+)$", world.client.get("/metrics").text)
    return float(said)


def test_an_answer_comes_from_the_disk_as_it_went_there(stores: Stores, log: Holding, kept: Spool) -> None:
    some = [
        answer(),
        answer(event_time=None, known=None),
        answer(prediction=3, probabilities={"3": 0.25, "4": 0.75}),
    ]
    log.broken = True
    kept.record(*some)
    log.broken = False
    kept.move()
    assert [stores.predictions.get(each.prediction_id) for each in some] == some


def test_what_a_killed_server_left_is_moved_by_the_next_once(
    stores: Stores, log: Holding, kept: Spool, tmp_path: Path
) -> None:
    one, other = answer(), answer()
    script = f"""
import os, signal
from pathlib import Path
from pipelines.serving.outages.spool import Spool
from tests.integration.serving.test_archive import answer
class Gone:
    def record(self, *given): raise ConnectionError("gone")
made = Spool(Gone(), Path({str(tmp_path / "spool")!r}), 1.0)
made.record(answer(prediction_id={one.prediction_id!r}), answer(prediction_id={other.prediction_id!r}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == -9, ended.stderr
    stores.predictions.record(one)  # it had been on its way to the database as well
    kept.move()
    kept.move()
    found = stores.predictions.recent(MODEL, 10)
    assert sorted(each.prediction_id for each in found) == sorted([one.prediction_id, other.prediction_id])


def test_a_file_that_another_server_writes_is_left_to_it(
    stores: Stores, log: Holding, kept: Spool, tmp_path: Path
) -> None:
    log.broken = True
    kept.record(answer())
    log.broken = False
    another = Spool(stores.predictions, tmp_path / "spool", 1.0)
    another.move()
    assert stores.predictions.count(MODEL) == 0
    kept.move()
    assert stores.predictions.count(MODEL) == 1


def test_a_file_that_is_just_begun_is_not_taken_away_by_another_process(
    stores: Stores, log: Holding, kept: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another, hold, moves = Spool(stores.predictions, tmp_path / "spool", 1.0), fcntl.flock, []

    def late(file: Any, how: int) -> None:
        if how == fcntl.LOCK_EX:  # the moment between a file's beginning and its being held
            moves.append(another.move())
        hold(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    log.broken = True
    kept.record(answer())
    log.broken = False
    kept.move()
    assert len(moves) == 1
    assert stores.predictions.count(MODEL) == 1


def test_what_another_process_has_moved_waits_no_more(
    stores: Stores, log: Holding, kept: Spool, tmp_path: Path
) -> None:
    log.broken = True
    kept.record(answer())
    kept.move()
    assert kept.waiting == 1
    Spool(stores.predictions, tmp_path / "spool", 1.0).move()
    assert stores.predictions.count(MODEL) == 1
    log.broken = False
    kept.move()
    assert kept.waiting == 0


def test_a_line_that_was_cut_off_was_never_an_answer(
    stores: Stores, log: Holding, kept: Spool, tmp_path: Path
) -> None:
    log.broken = True
    kept.record(answer())
    log.broken = False
    (file,) = (tmp_path / "spool").glob("*.jsonl")
    file.write_bytes(file.read_bytes() + b'{"prediction_id": "x", "mod')
    kept.move()
    assert stores.predictions.count(MODEL) == 1
    assert not file.exists()


def test_with_neither_database_nor_disk_no_answer_leaves_and_none_is_logged_later(
    outworld: tuple[World, Holding], log: Holding, kept: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _ = outworld
    log.broken = True

    def full(*_: Any) -> None:
        raise OSError("no space left on the device")

    with monkeypatch.context() as patch:
        patch.setattr(spool.os, "fsync", full)
        reply = world.ask()
        assert (reply.status_code, reply.json()["detail"][:30]) == (503, "the answer could not be writte")
    log.broken = False
    kept.move()
    assert world.stores.predictions.count(MODEL) == 0
    assert world.ask().status_code == 200


def test_the_first_call_may_take_long_what_raises_raises_and_what_hangs_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = Deadline(0.1)
    assert calls.call(lambda: time.sleep(0.3) or 1) == 1  # type: ignore[func-returns-value]
    with pytest.raises(ZeroDivisionError):
        calls.call(lambda: 1 // 0)
    free = threading.Event()
    with pytest.raises(Hung, match="no answer within"):
        calls.call(free.wait)
    with pytest.raises(Hung, match="another call hangs"):
        calls.call(lambda: 7)
    monkeypatch.setattr(deadline, "AGAIN", 0.0)
    assert calls.call(lambda: 7) == 7
    free.set()


@pytest.fixture
def champions(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Champions:
    """A real registry whose champion is version 2."""
    return copied(crowned(tmp_path_factory), tmp_path / "home")


class Down:
    """A registry that does not answer; files and keys are there."""

    def __init__(self, tracking: Any) -> None:
        self.tracking = tracking

    def champions(self) -> Any:
        raise ConnectionError("the registry is gone")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tracking, name)


def test_a_server_that_starts_without_the_registry_has_the_champions_it_last_heard_of(
    champions: Champions,
) -> None:
    tracking, name = champions.stores.tracking, champions.spec.name
    memory = champions.home / "serving" / "champions.json"
    with pytest.raises(ConnectionError):
        Remembered(Down(tracking), [name], memory).champions()  # type: ignore[arg-type]
    heard = Remembered(tracking, [name, "another"], memory)
    assert heard.champions()(name).version == 2  # type: ignore[union-attr]
    assert not heard.stale
    started = Remembered(Down(tracking), [name], memory)  # type: ignore[arg-type]
    found = started.champions()(name)
    assert started.stale
    assert found == tracking.champion(name)
    assert started.licence(found).decision == "PASS"
    assert started.fitted(found) is not None
    assert started.champions()("another") is None
    heard._tracking = Down(tracking)  # type: ignore[assignment]
    with pytest.raises(ConnectionError):
        heard.champions()  # who has heard it goes on with what it serves, and says that it cannot ask


class Unheard(Down):
    """A server of MLflow that is gone: it is asked only when a model is looked up."""

    def champions(self) -> Any:
        def named(model: str) -> None:
            raise TransientError(f"nobody says which version of {model} is champion")

        return named


class Stuck(Down):
    """A registry in which every call hangs until it is let go."""

    free = threading.Event()

    def champions(self) -> Any:
        self.free.wait(60)
        return self.tracking.champions()


def test_a_server_of_mlflow_that_is_gone_or_hangs_is_a_registry_that_is_not_heard(
    champions: Champions,
) -> None:
    tracking, name = champions.stores.tracking, champions.spec.name
    memory = champions.home / "serving" / "champions.json"
    assert Remembered(tracking, [name], memory).champions()(name).version == 2  # type: ignore[union-attr]
    started = Remembered(Unheard(tracking), [name, "another"], memory, 0.2)  # type: ignore[arg-type]
    assert started.champions()(name).version == 2  # type: ignore[union-attr]
    assert started.stale
    started._tracking = tracking
    assert started.champions()(name).version == 2  # type: ignore[union-attr]
    assert not started.stale
    stuck = Stuck(tracking)
    started._tracking = stuck  # type: ignore[assignment]
    for _ in range(2):  # also who looks while the first look still hangs
        with pytest.raises(Hung):
            started.champions()
    stuck.free.set()
    started._tracking = tracking
    wait(lambda: not started._deadline.hangs)
    assert started.champions()(name).version == 2  # type: ignore[union-attr]


def test_who_looks_for_what_is_rolled_out_waits_for_a_registry_no_longer_than_who_looks_for_champions(
    champions: Champions, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Stuck):
        free = threading.Event()

        def challengers(self) -> Any:
            self.free.wait(60)
            return self.tracking.challengers()

    hanging, name = Hanging(champions.stores.tracking), champions.spec.name
    started = Remembered(champions.stores.tracking, [name], champions.home / "none.json", 0.2)
    assert started.challengers()(name) is None
    assert started.permit is not None
    started._tracking = hanging  # type: ignore[assignment]
    begun = time.monotonic()
    with pytest.raises(Hung):
        started.challengers()
    assert time.monotonic() - begun < 10
    hanging.free.set()
    given = list[Any]()
    monkeypatch.setattr(serving, "create_app", lambda *all_of_it: given.extend(all_of_it))
    monkeypatch.setattr(serving, "_log", lambda: None)
    serving.app()
    assert isinstance(given[2], Remembered)
    assert given[6] is given[2]


class Slow:
    """A registry that has everything but the file of one version, which it fetches for as long as it is told to."""

    def __init__(self, tracking: Any, version: int) -> None:
        self.tracking, self.version, self.free = tracking, version, threading.Event()
        self.asked = 0

    def file(self, version: Any) -> Path:
        if version.version == self.version:
            self.asked += 1
            assert self.free.wait(60)
        return self.tracking.file(version)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tracking, name)


@pytest.fixture
def fetched(champions: Champions, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Predictor, Slow]]:
    """One who follows a champion, version 2, while the file of version 1 hangs."""
    monkeypatch.setattr(remembered, "FETCHED", 0.1)
    slow = Slow(champions.stores.tracking, 1)
    heard = Remembered(slow, [champions.spec.name], champions.home / "none.json")  # type: ignore[arg-type]
    yield Predictor(champions.spec, heard, FeatureTable(), Metrics()), slow
    slow.free.set()


def test_a_champion_whose_file_hangs_keeps_nobody_from_going_back(
    fetched: tuple[Predictor, Slow], champions: Champions
) -> None:
    predictor, slow = fetched
    predictor.follow()
    assert predictor.champion().version == 2
    crown(champions, 1)
    begun = time.monotonic()
    predictor.follow()
    predictor.retries.went()
    predictor.follow()  # once more, while it hangs
    assert time.monotonic() - begun < 10
    assert (slow.asked, predictor.champion().version) == (1, 2)
    assert predictor.last_error == f"version 1 is not loaded: {Cause.UNDERWAY}"
    assert predictor.loading is not None
    assert predictor.loading[0] == 1
    crown(champions, 2)
    predictor.follow()
    assert (predictor.champion().version, predictor.last_error, predictor.loading) == (2, None, None)
    crown(champions, 1)
    slow.free.set()
    wait(lambda: (predictor.retries.went(), predictor.follow(), predictor.champion().version == 1)[2])  # type: ignore[func-returns-value]
    assert predictor.loading is None


def test_while_the_first_champions_file_is_fetched_nobody_is_told_to_train_one(
    fetched: tuple[Predictor, Slow], champions: Champions
) -> None:
    predictor, slow = fetched
    crown(champions, 1)
    predictor.follow()
    with pytest.raises(Loading, match="loading its champion, version 1"):
        predictor.champion()
    assert slow.asked == 1


def crown(champions: Champions, version: int) -> None:
    champions.stores.tracking.set_alias(champions.spec.name, CHAMPION, version)


def test_what_is_fetched_is_fetched_by_one_and_what_it_raises_is_told() -> None:
    fetching, free, asked = Fetching(0.1), threading.Event(), list[int]()

    def fetch() -> None:
        asked.append(1)
        assert free.wait(60)

    for _ in range(3):
        with pytest.raises(Underway):
            fetching.wait("a", fetch)
    assert len(asked) == 1
    fetching.wait("b", lambda: None)  # of something else nobody waits for that
    for error in (ValueError, TimeoutError):

        def broken(error: type[Exception] = error) -> None:
            raise error("its own")

        with pytest.raises(error, match="its own"):
            fetching.wait("c", broken)
    free.set()
    wait(lambda: "a" not in fetching._under_way)
    fetching.wait("a", fetch)
    assert len(asked) == 2


def test_a_fault_while_following_ends_no_following(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    predictor = Predictor(SPEC, Models(Version(1, "one"), {1: pipeline}), FeatureTable(), Metrics())
    full = iter([OSError("no space left: hush")])

    def offered(served: Any) -> None:
        if (error := next(full, None)) is not None:
            raise error
        offer(served)

    offer = predictor._seat.offer
    monkeypatch.setattr(predictor._seat, "offer", offered)
    follower = Follower([predictor], predictor._models, 0.01)  # type: ignore[arg-type]
    follower.start()
    wait(lambda: predictor.served is not None)
    follower.stop()
    assert "champions could not be followed: OSError at" in caplog.text
    assert "hush" not in caplog.text


def test_a_memory_that_was_changed_lets_nothing_serve(champions: Champions) -> None:
    tracking, name = champions.stores.tracking, champions.spec.name
    memory = champions.home / "serving" / "champions.json"
    Remembered(tracking, [name], memory).champions()
    said = json.loads(memory.read_text())
    said[name]["version"] = champions.refused[0]
    said[name]["tags"]["licence"] = "0 {}"
    memory.write_text(json.dumps(said))
    started = Remembered(Down(tracking), [name], memory)  # type: ignore[arg-type]
    found = started.champions()(name)
    for use in (started.licence, started.fitted):
        with pytest.raises(EvergreenError, match="refused"):
            use(found)


def test_a_truth_is_told_only_where_it_is_kept(kept: Spool, log: Holding, stores: Stores) -> None:
    """Feedback is no answer: whoever tells it can tell it again."""
    from tests.integration.serving.test_archive import told

    one = answer()
    kept.record(one)
    log.broken = True
    with pytest.raises(ConnectionError):
        kept.tell(told(one))
    log.broken = False
    kept.tell(told(one))
    assert len(stores.predictions.truths(MODEL)) == 1
    assert one == kept.get(one.prediction_id)
