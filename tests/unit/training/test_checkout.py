"""Rules of what a checkout says of itself: its files that differ from a commit are named."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.settings import PROJECT
from pipelines.training import checkout


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small git checkout with one commit."""
    monkeypatch.setattr(checkout, "PROJECT", tmp_path)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "a.py").write_text("one = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "one")
    return tmp_path


def git(folder: Path, *command: str) -> str:
    return subprocess.run(
        ["git", *command], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_clean_checkout_differs_in_nothing_from_its_commit(project: Path) -> None:
    head = git(project, "rev-parse", "HEAD")
    assert head
    assert (checkout.uncommitted(), checkout.changed_since(head)) == ([], [])


def test_changed_and_new_files_are_named_and_files_elsewhere_are_not(project: Path) -> None:
    head = git(project, "rev-parse", "HEAD")
    (project / "pipelines" / "a.py").write_text("one = 2\n")
    (project / "pipelines" / "b.py").write_text("two = 2\n")
    (project / "notes.txt").write_text("nothing\n")
    assert checkout.uncommitted() == ["pipelines/a.py", "pipelines/b.py"]
    assert checkout.changed_since(head) == ["pipelines/a.py", "pipelines/b.py"]


def test_an_unknown_commit_and_no_checkout_at_all_are_told_apart_from_no_change(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkout.changed_since("0" * 40) is None
    assert checkout.changed_since("unknown") is None
    outside = tmp_path.parent / f"{tmp_path.name}_outside"
    outside.mkdir()
    monkeypatch.setattr(checkout, "PROJECT", outside)
    assert checkout.uncommitted() == []


def test_the_code_is_known_by_its_files_in_a_git_checkout_or_not(monkeypatch, tmp_path) -> None:
    (tmp_path / "pipelines").mkdir()
    made, aside = tmp_path / "pipelines" / "made.py", tmp_path / "pipelines" / "CARD.md"
    made.write_text("1")
    monkeypatch.setattr(checkout, "PROJECT", tmp_path)
    was = checkout.code()
    aside.write_text("words")
    assert checkout.code() == was
    made.write_text("2")
    assert checkout.code() != was


@pytest.mark.parametrize("name", checkout.LOCKS)
def test_the_lock_of_the_record_is_the_one_that_was_installed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = checkout.pinned(PROJECT / "locks" / name)
    assert len(names) > 150
    # A lock also pins what only other systems need.
    here = [SimpleNamespace(name=each.replace("-", "_").upper()) for each in sorted(names)[3:]]
    monkeypatch.setattr(checkout.metadata, "distributions", lambda: here)
    checkout.lock.cache_clear()
    try:
        assert checkout.lock().name == name
    finally:
        checkout.lock.cache_clear()


def test_here_it_is_the_default_lock() -> None:
    assert checkout.lock().name == "default.txt"
