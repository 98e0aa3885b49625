"""Rules of the scorecard: every item can fail, what is taken away or old gives nothing, and a person's deed half."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from pipelines import catalog
from pipelines.cli import app
from pipelines.contracts import Decision, Rule, Verdict
from pipelines.review.scorecard import card, data, infrastructure, model, monitoring, shown
from pipelines.review.scorecard.card import Card, Row
from pipelines.review.scorecard.evidence import Check, Evidence, Scene
from pipelines.review.scorecard.outcomes import CACHE, Outcomes
from pipelines.review.scorecard.rubric import SECTIONS
from pipelines.settings import PROJECT
from pipelines.stores import Stores, proofs
from pipelines.stores.answers.predictions import Prediction
from pipelines.stores.feature_store.health import Check as Expected
from pipelines.stores.feature_store.health import Health, ViewHealth
from pipelines.stores.tracking.registry import Version

NAME = "flight_delays"
SPEC = catalog.model(NAME)
NOW = datetime.now(UTC)
ITEMS = [(section, item) for section, items in SECTIONS.items() for item in items]
TEST = "tests/unit/test_it.py"


@pytest.fixture
def scene(stores: Stores, tmp_path: Path) -> Scene:
    """A model in an empty home and an empty checkout."""
    project = tmp_path / "checkout"
    project.mkdir()
    return Scene(SPEC, stores, stores, NOW, project, Outcomes(project))


def crown(scene: Scene, *rules: Rule, decision: Decision = Decision.PASS) -> None:
    """A champion with a verdict, as the scene would read them."""
    version = Version(NAME, 7, "r", "d" * 64, NOW, "s", {})
    verdict = Verdict(NAME, 7, "d" * 64, decision, rules, 100, {}, None, "t", NOW, NOW - timedelta(days=1))
    scene.__dict__.update(champion=version, verdict=verdict)


def passed(name: str, value: float | None = 0.1) -> Rule:
    return Rule(name, Decision.PASS, "as it should be", value=value)


def failed(name: str) -> Rule:
    return Rule(name, Decision.FAIL, "not as it should be", value=0.1)


def test_the_rubric_has_the_papers_28_items() -> None:
    assert {section: len(items) for section, items in SECTIONS.items()} == dict.fromkeys(
        ("data", "model", "infrastructure", "monitoring"), 7
    )
    assert len({item.title for _, item in ITEMS}) == len({item.check for _, item in ITEMS}) == 28


def test_every_command_that_shows_or_mends_an_item_exists() -> None:
    named = {m for _, i in ITEMS for m in re.findall(r"evergreen ([a-z-]+)", f"{i.command} {i.remedy}")}
    assert len(named) > 10
    for command in named:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0, command
    assert {m for _, i in ITEMS for m in re.findall(r"make ([a-z-]+)", i.command)} == {"test"}


@pytest.mark.parametrize(
    "item", [i for _, i in ITEMS if i.check is not data.meta], ids=lambda item: item.title
)
def test_no_item_has_a_point_where_there_is_no_evidence(item: Any, scene: Scene) -> None:
    """All but what is checked now, of the files themselves: the next test breaks that one."""
    found = card._tried(item.check, scene)
    assert found.said
    assert item.remedy
    assert found.points == 0


def test_a_model_that_is_not_sound_loses_the_point_that_is_checked_now(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.loop import checkup

    fault = checkup.Fault("spec.yaml:3", "it is broken", "mend it")
    monkeypatch.setattr(checkup, "examine", lambda *_: [fault])
    assert data.meta(scene) == Evidence(0.0, "spec.yaml:3: it is broken", NOW)


VERDICTS: list[tuple[Check, str]] = [
    (model.simpler, "log_loss better than the baseline's"),
    (model.slices, "slice origin = EWR"),
    (model.inclusion, "fairness of origin: equalized_odds_difference"),
    (infrastructure.reproducible, "its answers can be made again"),
    (monitoring.stable, "sound answers"),
    (monitoring.swift, "serves: p99"),
]


@pytest.mark.parametrize(("check", "rule"), VERDICTS, ids=[rule for _, rule in VERDICTS])
def test_what_the_gate_shows_is_gone_with_its_rule_its_verdict_or_its_champion(
    check: Check, rule: str, scene: Scene
) -> None:
    assert check(scene).points == 0
    crown(scene, passed("another rule"), passed(rule))
    found = check(scene)
    assert (found.points, found.at) == (1.0, NOW - timedelta(days=1))
    crown(scene, passed("another rule"))
    assert check(scene).points == 0
    crown(scene, passed(rule), failed(f"serves: {rule}" if check is monitoring.swift else rule))
    assert check(scene).points == 0
    crown(scene, passed(rule))
    scene.__dict__["verdict"] = None
    assert check(scene).points == 0


def test_slices_that_were_told_of_and_not_judged_show_nothing(scene: Scene) -> None:
    crown(scene, passed("slice origin = EWR", value=None))
    assert model.slices(scene).points == 0


@pytest.mark.parametrize(
    ("at", "lasts", "points"),
    [
        (NOW, None, 1.0),
        (NOW - timedelta(days=29), None, 1.0),
        (NOW - timedelta(days=31), None, 0.0),
        (NOW - timedelta(days=31), timedelta(days=365), 1.0),
        (NOW - timedelta(days=366), timedelta(days=365), 0.0),
        (NOW + timedelta(days=2), None, 0.0),
        (None, None, 0.0),
    ],
)
def test_old_evidence_and_evidence_without_a_date_give_nothing(at: Any, lasts: Any, points: float) -> None:
    assert card._aged(Evidence(1.0, "so", at, lasts), NOW, card.WITHIN).points == points


def test_what_cannot_be_looked_at_keeps_no_other_item_from_being_looked_at(scene: Scene) -> None:
    def broken(_: Scene) -> Evidence:
        raise OSError("gone")

    assert card._tried(broken, scene) == Evidence(0.0, "gone")


def test_views_are_covered_only_while_each_was_checked_and_none_refused(scene: Scene) -> None:
    crown(scene, passed("serves: p99"))
    health = Health(scene.stores.settings.database)
    views = scene.views
    assert len(views) >= 8
    for view in views[1:]:
        health.record(ViewHealth(view, 1, NOW, 10, 2.0, checks=(Expected("r", "f", "critical", True, "x"),)))
    assert views[0] in data.schema(scene).said
    assert views[0] in data.cost(scene).said
    health.record(ViewHealth(views[0], 1, NOW, 10, 2.0))
    assert data.schema(scene).points == 0
    assert data.cost(scene).points == 1
    health.record(
        ViewHealth(views[0], 1, NOW, 10, 900.0, checks=(Expected("r", "f", "critical", False, "x"),))
    )
    assert "refused" in data.schema(scene).said
    assert (data.cost(scene).points, data.cost(scene).said) == (0.0, f"too slow: {views[0]} 900 s")


def test_an_idle_view_takes_the_point_of_beneficial_features(scene: Scene) -> None:
    crown(scene)
    details = scene.stores.settings.home / "decisions" / NAME / "7" / "details.json"
    details.parent.mkdir(parents=True)
    for means, points in (((0.1, 0.2), 1.0), ((0.1, 0.0), 0.0)):
        told = {"importance": {"views": [{"name": f"v{n}", "mean": mean} for n, mean in enumerate(means)]}}
        details.write_text(json.dumps(told))
        assert data.beneficial(scene).points == points
    details.unlink()
    assert data.beneficial(scene).points == 0


def run(scene: Scene, text: str, outcomes: dict[str, tuple[bool, str]]) -> Outcomes:
    path = scene.project / TEST
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    cache = scene.project / CACHE
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps(outcomes))
    return Outcomes(scene.project)


def test_a_test_shows_something_while_it_is_there_and_passed_the_last_time(scene: Scene) -> None:
    body, node = f"from pipelines.models.{NAME} import x\n\ndef test_one(): ...\n", f"{TEST}::test_one[a-b]"
    good, bad = (True, NOW.isoformat()), (False, NOW.isoformat())
    for text, outcome, points in (
        (body, {node: good}, 1.0),
        (body, {node: bad}, 0.0),
        (body.replace("test_one", "test_other"), {node: good}, 0.0),
        (body.replace(NAME, f"{NAME}_2"), {node: good}, 0.0),
        (body, {}, 0.0),
        ("def (", {node: good}, 0.0),
    ):
        again = Scene(SPEC, scene.stores, scene.looking, NOW, scene.project, run(scene, text, outcome))
        assert infrastructure.specified(again).points == points, (text, outcome)
    (scene.project / CACHE).write_text('["not", {')
    assert Outcomes(scene.project).passed == {}


def test_a_view_is_tested_by_a_test_of_features_that_names_it_and_no_longer_name(scene: Scene) -> None:
    node, good = "tests/unit/features/test_it.py::test_one", (True, NOW.isoformat())
    outcomes = run(scene, "", {node: good})
    path = scene.project / "tests" / "unit" / "features" / "test_it.py"
    path.parent.mkdir()
    for text, found in (("aircraft_rotation__x", False), ("'aircraft__seats'", True), ("my_aircraft", False)):
        path.write_text(f"def test_one():\n    return {text}\n")
        assert bool(outcomes.about("aircraft", "features")) is found
    assert not Outcomes(scene.project).about("my_aircraft", "gate")


def test_outcomes_are_kept_by_every_run_of_the_tests(tmp_path: Path) -> None:
    """In a checkout of its own: passed, failed, failed before it began; and a later run changes only what it ran."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "conftest.py").write_text((PROJECT / "tests" / "conftest.py").read_text())
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    body = "import pytest\n@pytest.fixture\ndef no(): 1/0\ndef test_a(): pass\ndef test_b(): assert 0\n"
    body += "def test_c(no): pass\n"
    (tmp_path / "tests" / "test_x.py").write_text(body)
    pytest_ = [sys.executable, "-m", "pytest", "-q"]
    subprocess.run([*pytest_, "tests"], cwd=tmp_path, capture_output=True, check=False)
    first = Outcomes(tmp_path).passed
    assert set(first) == {"tests/test_x.py::test_a"}
    (tmp_path / "tests" / "test_x.py").write_text(body.replace("assert 0", "pass"))
    subprocess.run([*pytest_, "tests/test_x.py::test_b"], cwd=tmp_path, capture_output=True, check=False)
    assert set(Outcomes(tmp_path).passed) == {"tests/test_x.py::test_a", "tests/test_x.py::test_b"}
    assert Outcomes(tmp_path).passed["tests/test_x.py::test_a"] == first["tests/test_x.py::test_a"]


def _git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, check=True)


def test_a_review_is_half_a_point_and_one_that_is_asked_for_a_whole(scene: Scene) -> None:
    root, folder = scene.project, scene.project / "pipelines" / "models" / NAME
    folder.mkdir(parents=True)
    (folder / "spec.yaml").write_text("a")
    _git(root, "init", "-q")
    assert model.reviewed(scene).points == 0
    _git(root, "add", "-A")
    _git(root, "commit", "-qm", "one")
    assert "nobody but its author" in model.reviewed(scene).said
    _git(root, "commit", "--amend", "-qm", "one\n\nReviewed-by: Ada <a@example.org>")
    assert model.reviewed(scene).points == 0
    _git(root, "commit", "--amend", "-qm", "one\n\nReviewed-by: Bo <b@example.org>")
    assert model.reviewed(scene).points == 0.5
    (root / "CODEOWNERS").write_text("# who\n/pipelines/models/ @bo\n")
    assert model.reviewed(scene).points == 1
    (root / "CODEOWNERS").write_text("/dags/ @bo\n")
    assert model.reviewed(scene).points == 0.5
    (folder / "spec.yaml").write_text("b")
    assert model.reviewed(scene).points == 0


def test_what_a_card_says_of_persons_and_groups_is_half_a_point_once_it_is_committed(scene: Scene) -> None:
    path = scene.project / "pipelines" / "models" / NAME / "CARD.md"
    path.parent.mkdir(parents=True)
    path.write_text("# x\n\n**Personal data.** None.\n\n## Fairness\n\nNobody is meant.\n")
    _git(scene.project, "init", "-q")
    bare = Scene(
        SPEC.model_copy(update={"gate": SPEC.gate.model_copy(update={"fairness": ()})}),
        scene.stores, scene.looking, NOW, scene.project, scene.outcomes,
    )  # fmt: skip
    assert [
        card._aged(check(bare), NOW, card.WITHIN).points for check in (data.privacy, model.inclusion)
    ] == [0, 0]
    _git(scene.project, "add", "-A")
    _git(scene.project, "commit", "-qm", "one")
    assert [
        card._aged(check(bare), NOW, card.WITHIN).points for check in (data.privacy, model.inclusion)
    ] == [0.5, 0.5]
    path.write_text("# x\n")
    assert [check(bare).points for check in (data.privacy, model.inclusion)] == [0, 0]


def report(
    scene: Scene, name: str, version: int, at_gate: float | None, since: float | None, decayed: bool = False
) -> None:
    scene.monitored.mkdir(parents=True, exist_ok=True)
    decay = {"at_gate": at_gate, "since": since, "decayed": decayed, "explanation": "so"}
    (scene.monitored / f"{name}.json").write_text(json.dumps({"version": version, "decay": decay}))
    scene.__dict__.pop("monitor", None)


def test_the_monitors_report_counts_for_the_champion_it_is_about(scene: Scene) -> None:
    crown(scene)
    assert [check(scene).points for check in (model.staleness, monitoring.kept_quality)] == [0, 0]
    report(scene, "latest", 7, 0.4, 0.5)
    assert [check(scene).points for check in (model.staleness, monitoring.kept_quality)] == [1, 1]
    report(scene, "latest", 7, 0.4, 0.9, decayed=True)
    assert [check(scene).points for check in (model.staleness, monitoring.kept_quality)] == [1, 0]
    report(scene, "latest", 7, 0.4, None)
    assert [check(scene).points for check in (model.staleness, monitoring.kept_quality)] == [0, 0]
    report(scene, "latest", 6, 0.4, 0.5)
    assert [check(scene).points for check in (model.staleness, monitoring.kept_quality)] == [0, 0]


def test_offline_and_online_go_together_only_over_three_champions_and_upwards(scene: Scene) -> None:
    crown(scene)
    for version, (at_gate, since) in enumerate(((0.3, 0.4), (0.4, 0.5))):
        report(scene, f"version_{version}", version, at_gate, since)
    assert "2 champions" in model.correlated(scene).said
    report(scene, "version_9", 9, 0.5, 0.6)
    assert model.correlated(scene).points == 1
    report(scene, "version_9", 9, 0.5, 0.1)
    report(scene, "version_1", 1, 0.4, 0.3)
    assert model.correlated(scene).points == 0


def test_a_rollback_that_was_proved_counts_until_it_breaks(scene: Scene) -> None:
    for holds, points in ((True, 1.0), (False, 0.0)):
        proofs.keep(proofs.Kept("promotion", "p", holds, NOW, "c"), scene.stores.settings)
        assert infrastructure.rolled_back(scene).points == points
    (scene.stores.settings.home / "proofs" / "promotion.json").write_text("{}")
    assert infrastructure.rolled_back(scene).points == 0


def test_an_answer_that_is_no_number_takes_the_point_of_stability(scene: Scene) -> None:
    crown(scene, passed("sound answers"))
    assert monitoring.stable(scene).points == 1
    asked = Prediction("p1", NAME, 7, "d", {}, {}, {}, float("inf"), 0.5, False, NOW, None)
    scene.stores.predictions.record(asked)
    assert monitoring.stable(scene).points == 0


def test_alerts_count_where_somebody_is_told_and_the_way_is_tested(scene: Scene) -> None:
    assert "EVERGREEN_ALERT_URLS" in monitoring.notified(scene).said
    told = scene.stores.settings.model_copy(update={"alert_urls": SecretStr("jsons://x")})
    again = Scene(SPEC, Stores(told), scene.looking, NOW, scene.project, scene.outcomes)
    assert "did not pass" in monitoring.notified(again).said


def _card(points: Callable[[str, int], float]) -> Card:
    rows = [
        Row(section, number, "t | t", points(section, number), "<b> @x", NOW, "evergreen check", "r")
        for section in SECTIONS
        for number in range(1, 8)
    ]
    return Card("m", tuple(rows))


@pytest.mark.parametrize(
    ("least", "reading"),
    [(0, "research"), (1, "holes"), (2, "first pass"), (3, "reasonably"), (5, "strong"), (6, "exceptional")],
)
def test_the_score_is_the_least_of_the_four_sums_and_read_as_the_paper_does(least: int, reading: str) -> None:
    made = _card(lambda section, number: float(section != "model" or number <= least))
    assert made.sums == {"data": 7, "model": least, "infrastructure": 7, "monitoring": 7}
    assert made.score == least
    assert reading in made.reading
    half = _card(
        lambda section, number: 0.5 * (section != "model") + 0.5 * (section == "model" and number == 1)
    )
    assert half.score == 0.5


def test_a_card_is_shown_to_people_and_machines_alike() -> None:
    made = _card(lambda section, number: 0.5)
    told = shown.as_plain(made)
    assert (told["score"], len(told["items"])) == (3.5, 28)
    assert json.loads(json.dumps(told)) == told
    page = shown.markdown(made)
    assert page.count("\n| ") == 28 + 4 + 2 * 2
    assert "<b>" not in page.replace("\\<b\\>", "")
    assert "3.5" in shown.summary(made)
