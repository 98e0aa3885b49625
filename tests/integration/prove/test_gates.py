"""The proof of the gate in small: it opens for an honest candidate, and a gate that gives way is told of."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from pipelines import catalog
from pipelines.features import leakage
from pipelines.gate import notary, record
from pipelines.prove import gates
from pipelines.prove.gates import candidates
from pipelines.prove.gates.bench import WEAK, Bench, built, with_parameters
from pipelines.prove.gates.candidates import CANDIDATES
from pipelines.prove.gates.sabotage import SABOTAGES
from pipelines.prove.ingestion import scratch
from tests.hurried import few_rules

DAYS = 43
TREES = {"max_iter": 60, "learning_rate": 0.1}
"""A good model soon: the bench makes a dozen, and the gate asks of each what it asks of a larger one."""
Chosen = Callable[[tuple[Any, ...], str], Any]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Real flights, a weak first champion, and a better one that replaced it; so few rows ask for less confidence.

    Views are not checked, which is not what is asked here.
    """
    with scratch() as home, pytest.MonkeyPatch.context() as patched:
        patched.setattr(leakage, "check", lambda *_: None)
        few_rules(patched)
        spec = with_parameters(catalog.model("flight_delays"), **TREES)
        patched.setitem(WEAK, "max_iter", 14)
        eased = {
            "serving": spec.gate.serving.model_copy(update={"questions": 40}),
            "champion": spec.gate.champion.model_copy(update={"confidence": 0.75}),
        }
        spec = spec.model_copy(update={"gate": spec.gate.model_copy(update=eased)})
        made = built(spec, home, DAYS, 0, lambda _: None)
        controls = gates.controls(made, lambda _: None)
        assert [row["promoted"] for row in controls] == [True, True], controls
        yield made


@pytest.fixture(scope="module")
def chosen(bench: Bench) -> Chosen:
    """A case by its name; all that plant one that has seen the held-out rows plant the same."""
    planted = candidates.memorised(bench)

    def named(kinds: tuple[Any, ...], name: str) -> Any:
        (each,) = [each for each in kinds if each.name == name]
        return replace(each, plant=lambda _: planted) if each.plant is candidates.memorised else each

    return named


def test_there_are_as_many_cases_as_promised() -> None:
    assert len({each.name for each in CANDIDATES}) >= 20
    assert len({each.name for each in SABOTAGES}) >= 10


@pytest.mark.parametrize(
    "name", ["tied: the champion's twin with another seed", "has seen the held-out rows"]
)
def test_a_bad_candidate_is_caught_by_the_rule_that_is_there_for_it(
    bench: Bench, chosen: Chosen, name: str
) -> None:
    assert "failure" not in gates._tried(bench, chosen(CANDIDATES, name))


@pytest.mark.parametrize(
    "name",
    [
        "calls every rule passed",
        "believes the record of one that saw the held-out rows",
        "puts its own answers where the second making is kept",
    ],
)
def test_a_gate_that_says_pass_promotes_nothing(bench: Bench, chosen: Chosen, name: str) -> None:
    row = gates._attempt(bench, chosen(SABOTAGES, name), bench.champion or 0)
    assert row["gate"] == "PASS"
    assert "failure" not in row


def test_the_proof_tells_of_a_gate_that_gives_way(
    bench: Bench, chosen: Chosen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With gate and notary both sabotaged the worse candidate does serve, and the proof says so."""

    def believes(spec, version, stores):
        return record.read(stores.tracking.version(spec.name, version), stores)

    monkeypatch.setattr(notary, "attested", believes)
    row = gates._attempt(bench, chosen(SABOTAGES, "sets its flag to true"), bench.champion or 0)
    assert "champion" in row["failure"]
