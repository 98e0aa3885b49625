"""Rules of `evergreen diff` on a real checkout: what it tells, how it ends, and that the home stays as it was."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.review.changes import quality, sides
from pipelines.scaffold.project import copied
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores
from tests.commands import ran
from tests.once import copied_home

SPEC = "pipelines/models/flight_delays/spec.yaml"
FEW = {"minimum_rows: 5000": "minimum_rows: 500", "max_iter: 300": "max_iter: 20"}


def _git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, check=True)


def edit(project: Path, path: str, edits: dict[str, str]) -> None:
    text = (project / path).read_text()
    for before, after in edits.items():
        assert before in text
        text = text.replace(before, after, 1)
    (project / path).write_text(text)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project, committed, with a model that twelve days of flights suffice for."""
    project = copied(tmp_path_factory.mktemp("checkout"))
    edit(project, SPEC, FEW)
    _git(project, "init", "-q")
    _git(project, "add", "-A")
    _git(project, "commit", "-qm", "one")
    return project


@pytest.fixture
def project(checkout: Path) -> Iterator[Path]:
    yield checkout
    _git(checkout, "checkout", "-q", ".")
    _git(checkout, "clean", "-qfd")


def diff(project: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("EVERGREEN_")}
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "diff", *words],
        cwd=project, capture_output=True, text=True, check=False,
        env=kept | {"PYTHONPATH": str(project), "EVERGREEN_HOME": str(home)},
    )  # fmt: skip


def test_a_review_reads_of_loosened_rules_first_and_ends_well(project: Path, tmp_path: Path) -> None:
    edit(project, SPEC, {"roc_auc: 0.62": "roc_auc: 0.55", "owner: ml-flights": "owner: others"})
    edit(project, "feature_repo/carrier_delays.py", {"hours=6": "hours=12"})
    done = diff(project, tmp_path, "HEAD")
    assert done.returncode == 0, done.stderr
    first = done.stdout.index("floor roc_auc `0.62` -> `0.55`: **LOOSENED**")
    assert (
        first
        < done.stdout.index("### flight_delays: changed")
        < done.stdout.index("time to live `6:00:00` -> `12:00:00`")
    )
    assert "owner `ml-flights` -> `others`" in done.stdout
    assert "its spec.yaml asks for carrier_delays" in done.stdout


def test_a_change_that_breaks_a_model_is_told_and_ends_with_1(project: Path, tmp_path: Path) -> None:
    edit(project, SPEC, {"- aircraft:*": "- aircrafts:*"})
    done = diff(project, tmp_path, "HEAD", "flight_delays", "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["breaks"]
    assert {"aircraft:*", "aircrafts:*"} <= {
        word for c in told["models"][0]["changes"] for word in c["what"].split()
    }
    assert "no feature view 'aircrafts'" in told["models"][0]["faults"][0]["what"]


def test_a_mistake_gets_one_sentence(project: Path, tmp_path: Path) -> None:
    mistakes = {
        ("nowhere",): "git knows no revision",
        ("HEAD", "flights_delay"): "no model named",
        ("--", "-x"): "no revision",
    }
    found = ran(project, tmp_path, *(("diff", *words) for words in mistakes))
    for said, done in zip(mistakes.values(), found, strict=True):
        assert done.returncode == 1
        assert said in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr


def _state(home: Path) -> dict[str, bytes | int]:
    """Every file of a home with its length and when it was written."""
    found = (path for path in home.rglob("*") if path.is_file() and path.suffix not in {".db-wal", ".db-shm"})
    return {str(path.relative_to(home)): path.stat().st_mtime_ns for path in found}


def test_both_sides_are_measured_on_the_same_rows_in_processes_of_their_own_and_the_home_stays(
    checkout: Path, computed: Stores, tmp_path: Path
) -> None:
    """One side has other parameters, another view, and code that says in which process it ran."""
    copied_home(computed.settings.home, tmp_path / "home")
    stores = Stores(Settings(_env_file=None, home=tmp_path / "home"))
    before = sides.here(checkout)
    mark = f"import os, pathlib\npathlib.Path({str(tmp_path)!r}, str(os.getpid())).touch()\n"
    estimator = "pipelines/models/flight_delays/estimator.py"
    changed = {
        SPEC: before.files[SPEC].replace(b"learning_rate: 0.05", b"learning_rate: 0.15"),
        estimator: mark.encode() + before.files[estimator],
        "feature_repo/carrier_delays.sql": before.files["feature_repo/carrier_delays.sql"].replace(
            b"180", b"90"
        ),
    }
    after = sides.Side("after", before.files | changed)
    there = _state(tmp_path / "home")
    found = quality.expected("flight_delays", before, after, stores)
    assert found.measured, found.said
    assert found.rows is not None
    assert found.rows > 1000
    assert found.before != found.after
    assert found.low is not None and found.high is not None and found.low < found.high  # noqa: PT018
    assert _state(tmp_path / "home") == there
    ran = [path.name for path in tmp_path.iterdir() if path.name.isdigit()]
    assert ran
    assert str(os.getpid()) not in ran


def test_what_cannot_be_measured_says_why(checkout: Path, computed: Stores, stores: Stores) -> None:
    before = sides.here(checkout)

    def with_(path: str, old: bytes, new: bytes) -> sides.Side:
        assert old in before.files[path]
        return sides.Side("after", before.files | {path: before.files[path].replace(old, new)})

    gate = with_(SPEC, b"roc_auc: 0.62", b"roc_auc: 0.5")
    assert (
        "nothing that the model is learned from"
        in quality.expected("flight_delays", before, gate, computed).said
    )
    alone = sides.Side("before", {p: c for p, c in before.files.items() if "flight_delays" not in p})
    assert "on one side only" in quality.expected("flight_delays", alone, before, computed).said
    other = with_(SPEC, b"max_iter: 20", b"max_iter: 10")
    assert "no file has been ingested" in quality.expected("flight_delays", before, other, stores).said


def test_the_views_of_this_project_are_read_as_feast_reads_them(computed: Stores) -> None:
    read = sides.here(PROJECT).views
    known = computed.features.described
    assert set(read) == set(known)
    assert len(known) >= 8
    for name, view in known.items():
        assert read[name].owner == view.owner
        assert set(read[name].keys) == set(view.entities)
        assert set(read[name].features) == set(view.features)
        assert read[name].ttl == (str(view.ttl) if view.ttl else "none")
        assert read[name].look_back == str(view.version.look_back)
