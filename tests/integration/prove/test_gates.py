"""The proof of the gate in small: it opens for an honest candidate, and a gate that gives way is told of."""

from collections.abc import Iterator

import pytest

from pipelines import catalog
from pipelines.features import leakage
from pipelines.gate import notary, record
from pipelines.prove import gates
from pipelines.prove.gates.bench import Bench, built, with_parameters
from pipelines.prove.gates.candidates import CANDIDATES
from pipelines.prove.gates.sabotage import SABOTAGES
from pipelines.prove.ingestion import scratch

DAYS = 50
TREES = {"max_iter": 100, "learning_rate": 0.1}
"""A good model soon: the bench makes a dozen, and the gate asks of each what it asks of a larger one."""


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Real flights, a weak first champion, and a better one that replaced it.

    Views are not checked, which is not what is asked here.
    """
    with scratch() as home, pytest.MonkeyPatch.context() as patched:
        patched.setattr(leakage, "check", lambda *_: None)
        spec = with_parameters(catalog.model("flight_delays"), **TREES)
        few = {"serving": spec.gate.serving.model_copy(update={"questions": 40})}
        spec = spec.model_copy(update={"gate": spec.gate.model_copy(update=few)})
        made = built(spec, home, DAYS, 0, lambda _: None)
        controls = gates.controls(made, lambda _: None)
        assert [row["promoted"] for row in controls] == [True, True], controls
        yield made


def sabotaged(bench: Bench, name: str) -> dict:
    (each,) = [each for each in SABOTAGES if each.name == name]
    return gates._attempt(bench, each, bench.champion or 0)


def test_there_are_as_many_cases_as_promised() -> None:
    assert len({each.name for each in CANDIDATES}) >= 20
    assert len({each.name for each in SABOTAGES}) >= 10


@pytest.mark.parametrize(
    "name", ["tied: the champion's twin with another seed", "has seen the held-out rows"]
)
def test_a_bad_candidate_is_caught_by_the_rule_that_is_there_for_it(bench: Bench, name: str) -> None:
    (each,) = [each for each in CANDIDATES if each.name == name]
    assert "failure" not in gates._tried(bench, each)


@pytest.mark.parametrize(
    "name",
    [
        "calls every rule passed",
        "believes the record of one that saw the held-out rows",
        "puts its own answers where the second making is kept",
    ],
)
def test_a_gate_that_says_pass_promotes_nothing(bench: Bench, name: str) -> None:
    row = sabotaged(bench, name)
    assert row["gate"] == "PASS"
    assert "failure" not in row


def test_the_proof_tells_of_a_gate_that_gives_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With gate and notary both sabotaged the worse candidate does serve, and the proof says so."""

    def believes(spec, version, stores):
        return record.read(stores.tracking.version(spec.name, version), stores)

    monkeypatch.setattr(notary, "attested", believes)
    row = sabotaged(bench, "sets its flag to true")
    assert "champion" in row["failure"]
