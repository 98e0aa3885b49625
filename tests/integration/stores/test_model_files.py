"""Rules of the model's file, on a real MLflow: what was not made here is refused, and nothing it carries runs."""

import dataclasses
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression
from skops.io import dumps

from pipelines.contracts import EvergreenError
from pipelines.prove.models import PROMISE, Trial, _planted, hostile
from pipelines.prove.models.bench import Bench, opened
from pipelines.prove.models.tampering import DOORS, Deed, deeds
from pipelines.stores.tracking import model_files, registry
from pipelines.stores.tracking.model_files import LARGEST, file_digest, forget, load_verified

MODEL = "flight_delays"
PLACE = Path("/nowhere")
NAMES = [file.name for file in hostile.files(PLACE, b"PK")]
DEEDS = {deed.name: deed for deed in deeds()}


@pytest.fixture(scope="module")
def honest() -> bytes:
    return bytes(dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1])))


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    hostile.plant_elsewhere(tmp_path / "code", tmp_path / "canary")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    return tmp_path / "canary"


def test_there_are_thirty_hostile_files_and_no_two_are_the_same(honest: bytes) -> None:
    found = list(hostile.files(PLACE, honest))
    assert len(found) >= 30
    assert len({file.data for file in found}) == len({file.name for file in found}) == len(found)


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_file_is_refused_in_words_and_runs_nothing(
    name: str, honest: bytes, canary: Path, tmp_path: Path
) -> None:
    (file,) = (each for each in hostile.files(canary, honest) if each.name == name)
    path = tmp_path / "model.skops"
    path.write_bytes(file.data)
    with pytest.raises(EvergreenError, match=r"refused|nobody reviewed"):
        load_verified(path, file_digest(path), MODEL)
    assert not canary.exists()
    assert hostile.ELSEWHERE not in sys.modules


def test_an_honest_file_is_loaded_and_loaded_again_from_memory(honest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(honest)
    first = load_verified(path, file_digest(path), MODEL)
    assert first.predict_proba([[1.0]]).shape == (1, 2)
    assert load_verified(path, file_digest(path), MODEL) is first


def test_a_file_that_changed_since_it_was_loaded_is_not_served_from_memory(
    honest: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(honest)
    digest = file_digest(path)
    load_verified(path, digest, MODEL)
    path.write_bytes(honest + b"x")
    with pytest.raises(EvergreenError, match="changed after training"):
        load_verified(path, digest, MODEL)


def test_a_link_and_a_file_of_absurd_size_are_refused_unread(honest: bytes, tmp_path: Path) -> None:
    real, link, huge = (tmp_path / name for name in ("real", "link", "huge"))
    real.write_bytes(honest)
    link.symlink_to(real)
    huge.touch()
    with huge.open("r+b") as file:
        file.truncate(LARGEST + 1)
    for path in (link, huge):
        with pytest.raises(EvergreenError, match=r"cannot be read|regular file"):
            load_verified(path, file_digest(real), MODEL)


def test_an_attack_is_real_a_program_that_trusts_the_file_runs_it(
    honest: bytes, canary: Path, tmp_path: Path
) -> None:
    live = [file for file in hostile.files(canary, honest) if file.live]
    assert len(live) >= 10
    assert hostile.does_harm(live[0], tmp_path, canary)
    assert not hostile.does_harm(hostile.File("none", "honest", honest), tmp_path, canary)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A champion that passed its gate, and a version beside it that was not judged."""
    folder = tmp_path_factory.mktemp("bench")
    yield opened(MODEL, folder, lambda _: None)
    shutil.rmtree(folder)


@pytest.fixture
def trial(bench: Bench) -> Trial:
    return Trial(bench, bench.folder / "canary")


def tried(trial: Trial, deed: Deed) -> list[str]:
    """What broke when the deed was done, tried at every way in but the slow ones."""
    quick = tuple(door for door in deed.doors if door not in {"gate", "probe"})
    trial.failures.clear()
    trial.try_out(dataclasses.replace(deed, doors=quick))
    return trial.failures


@pytest.mark.parametrize("name", DEEDS)
def test_what_is_done_in_the_stores_without_a_key_lets_nothing_in(trial: Trial, name: str) -> None:
    assert tried(trial, DEEDS[name]) == []


def test_gate_and_probe_refuse_a_file_that_somebody_got_signed(trial: Trial) -> None:
    file = next(hostile.files(trial.canary, b""))
    deed = _planted(file)
    assert deed.doors == DOORS
    trial.try_out(deed)
    assert trial.failures == []


def test_while_a_file_is_swapped_back_and_forth_only_the_honest_one_is_loaded(trial: Trial) -> None:
    assert "'foreign': 0" in trial.race()["said"]
    assert trial.failures == []


def test_a_door_that_is_left_open_is_found(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the signature not asked for, the proof says what gets in by which way."""
    monkeypatch.setattr(registry, "verify_origin", lambda *_: None)
    assert any("let in by load" in said for said in tried(trial, DEEDS["a model nobody signed"]))


def test_a_digest_that_is_not_held_against_the_bytes_is_found(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "verified", lambda path, *_: path.read_bytes())
    found = tried(trial, DEEDS["the file swapped, store and local copy"])
    forget()
    assert any("let in by load" in said for said in found)
    assert PROMISE


def test_types_that_are_trusted_by_the_file_itself_are_found_to_run(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MLflow does: what the file asks for is trusted."""
    from skops.io import get_untrusted_types, loads

    everything = lambda data, model: loads(data, trusted=get_untrusted_types(data=data))  # noqa: E731 - one line
    monkeypatch.setattr(model_files, "_built", everything)
    file = next(f for f in hostile.files(trial.canary, b"") if "subprocess.Popen" in f.name)
    found = tried(trial, _planted(file))
    trial.canary.unlink(missing_ok=True)
    assert any("its canary was made" in said or "broke over it" in said for said in found)
