"""Rules of the candidate where it serves: a real process, a real model file, and models that misbehave."""

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines import models
from pipelines.contracts import Decision, EvergreenError, Rule
from pipelines.gate import opened
from pipelines.gate.case import Case
from pipelines.gate.rules import serving
from pipelines.processes import born
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from pipelines.training.train import train
from tests.training_sets import NOW, spec, training_set

Judge = Callable[..., dict[str, Rule]]
LIMITS = spec().gate.serving.model_copy(update={"questions": 40, "p99_ms": 5000.0})


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of its own for models, first where Python looks; one for all, so that one warm server has it."""
    home = tmp_path_factory.mktemp("elsewhere")
    own = home / "models" / "flight_delays"
    own.mkdir(parents=True)
    (own / "__init__.py").touch()
    (home / "sitecustomize.py").write_text(
        f"import pipelines.models\npipelines.models.__path__.insert(0, {str(home / 'models')!r})\n"
    )
    return home


@pytest.fixture
def misbehaving(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A model `flight_delays` of another folder, here and in the probe, whose last step does as it is told."""
    own = elsewhere / "models" / "flight_delays"
    monkeypatch.setenv("PYTHONPATH", str(elsewhere))
    monkeypatch.syspath_prepend(str(elsewhere))
    monkeypatch.setattr(models, "__path__", [str(elsewhere / "models"), *models.__path__])
    _forget(monkeypatch)

    def write(behaviour: str) -> None:
        shutil.rmtree(own / "__pycache__", ignore_errors=True)  # of the file before, of the same second
        (own / "estimator.py").write_text(ESTIMATOR + textwrap.indent(textwrap.dedent(behaviour), "    "))

    yield write
    for name in [n for n in sys.modules if n.startswith("pipelines.models.")]:
        del sys.modules[name]  # what was there before comes back with monkeypatch


def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.startswith("pipelines.models.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(models, "flight_delays", raising=False)


ESTIMATOR = """
import os, time
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


def build(parameters):
    return Odd()


def baseline():
    return Odd()


def at_the_probe():
    return "--given" in __import__("sys").argv


class Odd(ClassifierMixin, BaseEstimator):
    def fit(self, rows, labels):
        self.feature_names_in_ = np.asarray(rows.columns, dtype=object)
        self.classes_ = np.array([0, 1])
        return self

    def plain(self, rows):
        p = 1 / (1 + np.exp(-rows["origin_congestion__mean_departure_delay_1h"].to_numpy("float64")))
        p = np.where(np.isnan(p), 0.5, p)
        return np.column_stack([1 - p, p])

"""


@pytest.fixture
def judge(stores: Stores, tmp_path: Path) -> Judge:
    """Every rule of serving on a candidate trained now, by name."""

    def judged(**limits: float) -> dict[str, Rule]:
        case = _case(stores, tmp_path, **limits)
        rules = serving.check(case)
        assert rules
        assert all(rule.name.startswith("serves: ") for rule in rules)
        return {rule.name.removeprefix("serves: "): rule for rule in rules}

    return judged


def _case(stores: Stores, folder: Path, **limits: float) -> Case:
    model = spec(serving=LIMITS.model_copy(update=limits))
    rows = training_set(folder, rows=1500)
    return opened(model, train(model, rows, stores).version, rows, stores, NOW)


def failed(rules: dict[str, Rule]) -> set[str]:
    return {name for name, rule in rules.items() if rule.decision is Decision.FAIL}


def test_an_honest_candidate_passes_every_rule_and_answers_as_the_gate_was_answered(judge: Judge) -> None:
    rules = judge()
    assert {rule.decision for rule in rules.values()} == {Decision.PASS}, rules
    assert rules["as the gate was answered"].rows >= 10
    assert rules["memory"].value > 50
    assert rules["file size"].value > 0
    assert len(rules) == 9


def test_limits_that_are_broken_fail_by_name(judge: Judge) -> None:
    rules = judge(p99_ms=0.01, megabytes=0.001, memory_mb=100_000)
    assert failed(rules) == {"slowest of a hundred", "file size"}


def test_the_probe_needs_no_licence_and_leaves_none(stores: Stores, tmp_path: Path) -> None:
    case = _case(stores, tmp_path)
    assert not serving.probed(case, case.held.head(2))["failed"]
    assert "licence" not in stores.tracking.version("flight_delays", case.version.version).tags


MISBEHAVIOUR = {
    "hangs while it loads": (
        """
        def __setstate__(self, state):
            while at_the_probe():
                time.sleep(3600)
            self.__dict__.update(state)

        predict_proba = plain
        """,
        {"loads and answers"},
        "too long loading it",
    ),
    "hangs on one question": (
        """
        def predict_proba(self, rows):
            if at_the_probe() and len(rows) == 1 and rows["origin"].iloc[0] == "JFK":
                time.sleep(3600)
            return self.plain(rows)
        """,
        {"loads and answers"},
        "too long asking it",
    ),
    "ends its process": (
        """
        def predict_proba(self, rows):
            if at_the_probe():
                os.abort()
            return self.plain(rows)
        """,
        {"loads and answers"},
        "SIGABRT",
    ),
    "leaves quietly": (
        """
        def predict_proba(self, rows):
            if at_the_probe():
                os._exit(0)
            return self.plain(rows)
        """,
        {"loads and answers"},
        "without a word",
    ),
    "eats memory": (
        """
        def predict_proba(self, rows):
            if at_the_probe():
                self.kept = np.ones(10**9)
            return self.plain(rows)
        """,
        {"loads and answers"},
        "allocate",
    ),
    "answers by the rows beside it": (
        """
        def predict_proba(self, rows):
            p = self.plain(rows)[:, 1]
            p = p - p.mean() + 0.5
            return np.column_stack([1 - p, p]).clip(0, 1)
        """,
        {"as the gate was answered"},
        "furthest",
    ),
    "answers by how often it was asked": (
        """
        def predict_proba(self, rows):
            self.asked_ = getattr(self, "asked_", 0) + 1
            return np.clip(self.plain(rows) * (1 + at_the_probe() * 1e-9 * self.asked_), 0, 1)
        """,
        {"as the gate was answered", "agrees with itself"},
        "",
    ),
    "cannot do without features": (
        """
        def predict_proba(self, rows):
            if rows["origin_congestion__mean_departure_delay_1h"].isna().all():
                raise KeyError("no congestion")
            return self.plain(rows)
        """,
        {"without any feature", "answers every row"},
        "",
    ),
    "says NaN to some": (
        """
        def predict_proba(self, rows):
            said = self.plain(rows)
            said[(rows["origin"] == "JFK").to_numpy() & at_the_probe()] = np.nan
            return said
        """,
        {"answers every row"},
        "no probability",
    ),
}


@pytest.mark.parametrize("what", MISBEHAVIOUR)
def test_a_candidate_that_misbehaves_where_it_serves_fails(
    what: str, misbehaving: Callable[[str], None], judge: Judge
) -> None:
    behaviour, rules, said = MISBEHAVIOUR[what]
    misbehaving(behaviour)
    found = judge(
        load_seconds=4.0 if what == "hangs while it loads" else 15.0, p99_ms=500.0, memory_mb=1500.0
    )
    assert failed(found) - {"slowest of a hundred"} == rules, found
    assert any(said in found[name].explanation for name in rules), found


def test_a_warm_probe_costs_what_a_process_of_its_own_costs(stores: Stores, tmp_path: Path) -> None:
    """Its memory counts the libraries it found loaded, and its loading the imports it was spared."""
    case = _case(stores, tmp_path)
    warm = serving.probed(case, case.held.head(20))
    questions, out = tmp_path / "questions.parquet", tmp_path / "alone.json"
    case.held.head(20).to_parquet(questions)
    words = ["flight_delays", str(case.version.version), str(questions), str(out), "--given"]
    command = [sys.executable, "-m", "pipelines.serving.probing.probe", *words]
    subprocess.run(command, input=serving._given(case).encode(), cwd=PROJECT, check=True)
    alone = json.loads(out.read_text())
    assert (warm["phase"], alone["phase"]) == ("done", "done")
    assert warm["answers"] == alone["answers"]
    assert warm["peak_mb"] == pytest.approx(alone["peak_mb"], rel=0.05)
    spared = "from pipelines.serving.probing.warm import imported; print(imported().seconds)"
    counted = subprocess.run([sys.executable, "-c", spared], cwd=PROJECT, capture_output=True, check=True)
    assert (
        warm["load_seconds"] > float(counted.stdout) / 2 > 0.05
    )  # measured here: a fast machine imports in less than a second


def test_the_probe_runs_beside_the_rules_and_ends_with_them(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "processors", lambda: [0, 1])
    case = _case(stores, tmp_path)
    with serving.beside(case):
        begun = case.probe
        assert begun is not None
        rules = serving.check(case)
        assert case.probe is None
    assert {rule.decision for rule in rules} == {Decision.PASS}, rules
    assert not begun._out.parent.exists()
    assert {rule.decision for rule in serving.check(case)} == {Decision.PASS}


@pytest.mark.parametrize("error", [EvergreenError("unsound"), KeyboardInterrupt()])
def test_a_probe_nobody_collects_is_ended(
    error: BaseException, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "processors", lambda: [0, 1])
    case = _case(stores, tmp_path)
    seen = serving.probed(case, case.held.head(2))
    assert not seen["failed"]  # a server is there, so that the next is asked at once
    children = []

    def left() -> None:
        with serving.beside(case):
            case.probe._asking._answered()
            children.append(case.probe._asking._child)
            assert born(children[0]["pid"]) == children[0]["born"]
            raise error

    with pytest.raises(type(error)):
        left()
    (child,) = children
    assert born(child["pid"]) != child["born"]


def test_where_there_is_one_processor_the_probe_waits_for_its_turn(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "processors", lambda: [0])
    case = _case(stores, tmp_path)
    with serving.beside(case):
        assert case.probe is None
