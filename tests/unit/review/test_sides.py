"""Rules of the two sides: the other one is what git kept, none of it is run, and what git lacks is said in words."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.contracts import EvergreenError
from pipelines.review.changes import data, files, git, sides, views
from pipelines.review.changes.change import Weight
from pipelines.review.changes.sides import Side
from pipelines.settings import PROJECT

RUNS = "import pathlib; pathlib.Path('ran').touch()\n"


def _git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of one commit with one model."""
    root = tmp_path / "a repo"
    put(root, "pipelines/models/m/spec.yaml", "name: m\n")
    put(root, "pipelines/models/m/estimator.py", RUNS)
    put(root, "pipelines/models/m/ü `x`.sql", "select 1\r\n")
    put(root, "feature_repo/v.py", RUNS)
    put(root, "elsewhere.txt", "no side's business")
    _git(root, "init", "-q")
    _git(root, "add", "-A")
    _git(root, "commit", "-qm", "one")
    return root


def test_the_other_side_is_as_it_was_committed_whatever_became_of_the_work_tree(root: Path) -> None:
    before = sides.here(root).files
    assert len(before) == 4
    put(root, "pipelines/models/m/spec.yaml", "name: other\n")
    (root / "feature_repo" / "v.py").unlink()
    put(root, "pipelines/models/new/spec.yaml", "name: new\n")
    assert dict(sides.at(git.commit_of("HEAD", root), root).files) == before
    assert set(sides.here(root).models) == {"m", "new"}
    assert not (root / "ran").exists()
    assert "v" not in sys.modules


def test_a_link_is_no_file_of_either_side(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush")
    (root / "pipelines" / "models" / "m" / "linked.sql").symlink_to(tmp_path / "secret")
    _git(root, "add", "-A")
    _git(root, "commit", "-qm", "two")
    both = (sides.here(root), sides.at("HEAD", root))
    assert all(len(side.files) == 4 for side in both)


def test_what_was_merged_elsewhere_meanwhile_is_counted_and_left_out_from_where_they_parted(
    root: Path,
) -> None:
    _git(root, "checkout", "-qb", "theirs")
    put(root, "pipelines/models/m/spec.yaml", "name: theirs\n")
    _git(root, "commit", "-qam", "theirs")
    theirs = git.commit_of("theirs", root)
    _git(root, "checkout", "-q", "-")
    assert git.missing_here(theirs, root) == 1
    assert git.meeting_point(theirs, root) == git.commit_of("HEAD", root)


@pytest.mark.parametrize("revision", ["nowhere", "--output=x", "HEAD:pipelines", "", "a b", "HEAD~9"])
def test_a_revision_that_git_does_not_know_is_said_in_words(root: Path, revision: str) -> None:
    with pytest.raises(EvergreenError, match="revision"):
        git.commit_of(revision, root)
    assert not (root / "x").exists()


def test_a_shallow_clone_is_named_with_the_remedy(root: Path, tmp_path: Path) -> None:
    put(root, "pipelines/models/m/spec.yaml", "name: two\n")
    _git(root, "commit", "-qam", "two")
    _git(tmp_path, "clone", "-q", "--depth", "1", root.as_uri(), "shallow")
    with pytest.raises(EvergreenError, match="fetch-depth: 0"):
        git.commit_of("HEAD~1", tmp_path / "shallow")


def test_a_folder_without_git_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(EvergreenError, match="no git checkout"):
        git.commit_of("HEAD", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EvergreenError, match="git is not installed"):
        git.commit_of("HEAD", tmp_path)


def test_a_spec_that_is_no_yaml_or_not_sound_is_a_fault_of_its_side() -> None:
    texts = {"a": b"name: [", "b": b"- 1", "c": b"name: c", "d": b"\xff\xfe\x00"}
    side = Side("x", {f"pipelines/models/{name}/spec.yaml": text for name, text in texts.items()})
    assert set(side.models) == set(texts)
    assert all(each.typed is None and each.fault for each in side.models.values())


def suite(*expectations: str) -> Side:
    text = '{"expectations": [' + ",".join(expectations) + "]}"
    return Side("x", {"expectations/d.json": text.encode()})


def one(kind: str, kwargs: str, severity: str = "critical") -> str:
    return f'{{"type": "{kind}", "kwargs": {{{kwargs}}}, "severity": "{severity}"}}'


BETWEEN = "expect_column_values_to_be_between"
IN, NOT_IN = "expect_column_values_to_be_in_set", "expect_column_values_to_not_be_in_set"
LOOSENED, TIGHTENED, CHANGED = Weight.LOOSENED, Weight.TIGHTENED, Weight.CHANGED


@pytest.mark.parametrize(
    ("old", "new", "weight"),
    [
        (one(BETWEEN, '"column": "a", "min_value": 0'), None, LOOSENED),
        (None, one(BETWEEN, '"column": "a", "min_value": 0'), TIGHTENED),
        (one(BETWEEN, '"column": "a", "min_value": 0'), one(BETWEEN, '"column": "a", "min_value": -1'), LOOSENED),
        (one(BETWEEN, '"column": "a", "max_value": 1'), one(BETWEEN, '"column": "a"'), LOOSENED),
        (one(BETWEEN, '"column": "a", "max_value": 1'), one(BETWEEN, '"column": "a", "max_value": 0'), TIGHTENED),
        (one(BETWEEN, '"column": "a", "max_value": 1'), one(BETWEEN, '"column": "a", "max_value": "x"'), CHANGED),
        (one(BETWEEN, '"column": "a"'), one(BETWEEN, '"column": "a", "mostly": 0.9'), LOOSENED),
        (one(BETWEEN, '"column": "a", "mostly": 0.9'), one(BETWEEN, '"column": "a", "mostly": 0.8'), LOOSENED),
        (one(BETWEEN, '"column": "a"'), one(BETWEEN, '"column": "a"', "warning"), LOOSENED),
        (one(IN, '"column": "a", "value_set": ["x"]'), one(IN, '"column": "a", "value_set": ["x", "y"]'), LOOSENED),
        (one(IN, '"column": "a", "value_set": ["x", "y"]'), one(IN, '"column": "a", "value_set": ["x"]'), TIGHTENED),
        (one(NOT_IN, '"column": "a", "value_set": ["x", 1]'), one(NOT_IN, '"column": "a", "value_set": [1]'), LOOSENED),
        (one(BETWEEN, '"column": "a", "strict_min": true'), one(BETWEEN, '"column": "a"'), LOOSENED),
    ],
)  # fmt: skip
def test_an_expectation_is_told_by_what_it_lets_in(old: str | None, new: str | None, weight: Weight) -> None:
    (found,) = data.suite("d", "expectations/d.json", *(suite(*filter(None, [each])) for each in (old, new)))
    assert found.weight is weight


def test_a_suite_that_is_gone_or_no_suite_any_more_expects_nothing() -> None:
    before = suite(
        one(IN, '"column": "a", "value_set": ["x"]'), one(BETWEEN, '"column": "b", "min_value": 0')
    )
    for after in (
        Side("y", {}),
        Side("y", {"expectations/d.json": b"[1"}),
        Side("y", {"expectations/d.json": b"3"}),
    ):
        found = list(data.suite("d", "expectations/d.json", before, after))
        assert [each.weight for each in found] == [LOOSENED, LOOSENED]


def dataset(edit: str = "", extra: str = "") -> Side:
    columns = "  a: {type: string, description: x}\n  t: {type: timestamp, description: x}\n"
    facts = "name: d\ndescription: x\nowner: o\npattern: d_*\nkey: [a]\nevent_time: t\navailable_at: t\n"
    text = f"{facts}{extra}columns:\n{columns}{edit}"
    return Side("x", {"pipelines/datasets/d.yaml": text.encode()})


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (dataset("  b: {type: float, description: x}\n"), f"column b added: float ({data.REWRITTEN})"),
        (dataset("  b: {type: float, description: x, nullable: true}\n"), "column b added: float, nullable"),
        (dataset(extra="max_bad_share: 0.9\n"), "max_bad_share 0.2 -> 0.9: LOOSENED"),
        (dataset(extra="manifest: true\n"), "manifest false -> true: TIGHTENED"),
        (dataset(extra="null_values: ['', 'NA']\n"), "null_values NA added: LOOSENED"),
    ],
)  # fmt: skip
def test_a_dataset_is_told_by_what_files_must_bring(after: Side, said: str) -> None:
    (found,) = data.dataset("d", dataset(), after)
    assert str(found) == f"d: {said}"


REAL = sides.here(PROJECT)


def test_a_view_reads_its_definition_without_running_it() -> None:
    assert len(REAL.views) >= 8
    text = (PROJECT / "feature_repo" / "carrier_delays.py").read_text().replace("hours=6", "days=1, hours=1")
    entities = (PROJECT / "feature_repo" / "entities.py").read_text()
    found = views.views_of({"carrier_delays": f"raise SystemExit\n{text}", "entities": entities}, {})
    assert found["carrier_delays"].ttl == "1 day, 1:00:00"
    assert views.views_of({"broken": "def ("}, {}) == {}


def test_comments_make_no_new_version_and_a_value_does() -> None:
    real = REAL.views["carrier_delays"]
    commented = views.View(**{**vars(real), "sql": f"-- why\n{real.sql}"})
    other = views.View(**{**vars(real), "sql": real.sql.replace("180", "90")})
    assert real.values == commented.values
    assert real.values != other.values


def test_an_estimators_classes_are_named_from_its_source() -> None:
    before, after = (
        Side("x", {"pipelines/models/m/estimator.py": f"{RUNS}def build(p): return {name}(**p)\n".encode()})
        for name in ("Ridge", "ensemble.RandomForestRegressor")
    )
    (found,) = files.changes("m", before, after)
    assert str(found) == "estimator.py: +1 -1 lines (classes +RandomForestRegressor, -Ridge)"
