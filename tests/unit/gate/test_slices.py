"""Rules of what the gate says of parts of the rows."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from pipelines import catalog
from pipelines.catalog.gate_spec import Slices
from pipelines.contracts import Decision, Kind, Rule
from pipelines.gate.case import Case
from pipelines.gate.intervals import Improvement
from pipelines.gate.notary import follows
from pipelines.gate.rules import weakest
from pipelines.gate.rules.slices import FOUND, check, level, not_below
from pipelines.gate.slicing import slices
from pipelines.prove.statistics.pairs import Drawn, case

ROWS = 4000
REAL = catalog.model("flight_delays")


def judged(
    worse: float = 0.0, where: str = "EWR", seed: int = 0, **asked: object
) -> tuple[Case, dict[str, Rule]]:
    """Two models of one truth, the candidate with more noise where the origin is `where`; its rules by name."""
    draw = np.random.default_rng(seed)
    truth, origin = draw.normal(size=ROWS), draw.choice(["EWR", "JFK", "LGA"], ROWS, p=[0.4, 0.56, 0.04])
    noise = np.where(origin == where, 0.3 + worse, 0.3)
    said = [1 / (1 + np.exp(-(truth + size * draw.normal(size=ROWS)))) for size in (noise, 0.3)]
    labels = (draw.random(ROWS) < 1 / (1 + np.exp(-truth))).astype(float)
    inputs = {
        "origin": np.where(draw.random(ROWS) < 0.1, None, origin),
        "distance": np.where(draw.random(ROWS) < 0.1, np.nan, draw.integers(100, 3000, ROWS)),
    }
    wanted = Slices.model_validate({"columns": ("origin",), "margin": 0.05, **asked})
    spec = REAL.model_copy(update={"gate": REAL.gate.model_copy(update={"slices": wanted})})
    found = case(spec, Drawn(inputs, labels, draw.integers(0, 160, ROWS), *said))
    return found, {rule.name: rule for rule in check(found)}


def test_each_value_of_a_column_is_a_slice_and_so_are_the_rows_without_one() -> None:
    _, rules = judged()
    assert {"slice origin = EWR", "slice origin = JFK", "slice origin missing"} <= set(rules)
    assert {rule.decision for rule in rules.values()} == {Decision.PASS}


def test_slices_hold_every_row_once() -> None:
    found, _ = judged()
    for column in ("origin", "distance"):
        masks = [part.mask for part in slices(found.held, column)]
        assert len(masks) > 3
        assert (np.sum(masks, axis=0) == 1).all()


def test_a_number_with_many_values_is_cut_at_its_quartiles_and_says_where() -> None:
    _, rules = judged(columns=("distance",))
    parts = [rules[f"slice distance part {number} of 4"] for number in range(1, 5)]
    assert all(rule.rows and 800 < rule.rows < 1000 for rule in parts)
    assert parts[0].explanation.startswith("100.0 to ")


def test_a_small_slice_is_told_of_and_not_judged() -> None:
    _, rules = judged()
    assert "slice origin = LGA" not in rules
    told = rules["slice origin, small ones"]
    assert told.decision is Decision.PASS
    assert "below 200 rows, not judged: origin = LGA (" in told.explanation


@pytest.mark.parametrize("seed", range(5))
def test_a_slice_that_regressed_is_not_passed_however_good_the_rest(seed: int) -> None:
    _, rules = judged(worse=2.0, seed=seed)
    assert rules["slice origin = EWR"].decision is Decision.FAIL
    assert rules["slice origin = JFK"].decision is Decision.PASS


def test_an_equal_model_is_seldom_held_back_by_its_slices() -> None:
    """5% may be, of 60."""
    verdicts = [{rule.decision for rule in judged(seed=seed)[1].values()} for seed in range(60)]
    assert sum(verdict != {Decision.PASS} for verdict in verdicts) <= 7


def test_the_more_slices_are_judged_the_surer_each_must_be() -> None:
    found, one = judged(columns=("origin",))
    _, two = judged(columns=("origin", "distance"))
    assert one["slice origin = EWR"].confidence == level(found, 3) == pytest.approx(1 - 0.05 / 3)
    assert two["slice origin = EWR"].confidence == pytest.approx(1 - 0.05 / 8)
    assert two["slice origin = EWR"].low < one["slice origin = EWR"].low


@pytest.mark.parametrize(
    ("low", "mean", "high", "said"),
    [
        (-0.04, 0.0, 0.04, Decision.PASS),
        (-0.08, -0.07, -0.06, Decision.FAIL),
        (-0.07, -0.045, -0.02, Decision.INCONCLUSIVE),
        (-0.06, -0.01, 0.04, Decision.PASS),
        (-0.20, -0.10, 0.0, Decision.INCONCLUSIVE),
        (-0.10, 0.0, 0.10, Decision.PASS),
    ],
)
def test_what_is_not_shown_blocks_only_where_it_looks_worse(
    low: float, mean: float, high: float, said: Decision
) -> None:
    found = Improvement(mean, low, high, 50)
    assert not_below(found, 0.05) is said
    rule = Rule("r", said, "", value=mean, bound=-0.05, low=low, high=high, kind=Kind.NOT_BELOW)
    assert follows(rule) is said
    other = next(decision for decision in Decision if decision is not said)
    assert follows(dataclasses.replace(rule, decision=other)) is said


def test_every_judged_slice_gives_the_numbers_its_decision_follows_from() -> None:
    _, rules = judged(worse=1.0, floors={"roc_auc": 0.6}, ceilings={"brier": 0.2})
    numbered = [rule for rule in rules.values() if rule.value is not None]
    assert len(numbered) >= 9
    for rule in numbered:
        assert rule.metric
        assert rule.rows
        assert follows(rule) is rule.decision


def test_floors_and_ceilings_hold_in_every_slice() -> None:
    _, rules = judged(worse=3.0, floors={"roc_auc": 0.7}, ceilings={"brier": 0.24})
    assert rules["slice origin = EWR, roc_auc floor"].decision is Decision.FAIL
    assert rules["slice origin = EWR, brier ceiling"].decision is Decision.FAIL
    assert rules["slice origin = JFK, roc_auc floor"].decision is Decision.PASS


def test_without_a_champion_only_floors_and_ceilings_judge() -> None:
    found, _ = judged(worse=3.0, floors={"roc_auc": 0.7})
    found.champion = None
    del found.answers["champion"]
    rules = {rule.name: rule for rule in check(found)}
    assert "no champion yet" in rules["slice origin = EWR"].explanation
    assert rules["slice origin = EWR"].decision is Decision.PASS
    assert rules["slice origin = EWR, roc_auc floor"].decision is Decision.FAIL


def test_a_champion_that_cannot_answer_decides_nothing() -> None:
    found, _ = judged()
    del found.answers["champion"]
    said = {rule.decision for rule in check(found) if rule.name in (FOUND, "slice origin = EWR")}
    assert said == {Decision.INCONCLUSIVE}


def test_a_column_that_is_not_there_passes_nobody() -> None:
    _, rules = judged(columns=("gate",))
    assert rules["slice gate, small ones"].decision is Decision.INCONCLUSIVE
    assert "no column gate" in rules["slice gate, small ones"].explanation


def test_a_slice_of_one_class_is_told_of() -> None:
    found, _ = judged(floors={"roc_auc": 0.6})
    found.held.loc[found.held["origin"] == "EWR", "label"] = 1.0
    found.__dict__["labels"] = found.held["label"].to_numpy()
    rules = {rule.name: rule for rule in check(found)}
    assert "one class" in rules["slice origin = EWR"].explanation
    assert rules["slice origin = EWR, roc_auc floor"].decision is Decision.INCONCLUSIVE


@pytest.mark.parametrize("seed", range(3))
def test_the_worst_slice_is_found_where_nobody_declared_it_and_named(seed: int) -> None:
    _, rules = judged(worse=2.0, columns=(), seed=seed)
    assert rules[FOUND].decision is Decision.FAIL
    assert "origin = EWR" in rules[FOUND].explanation


def test_the_search_does_not_see_the_rows_that_judge() -> None:
    found, rules = judged(worse=2.0)
    words, mask = weakest.find(found, 200)
    search = weakest.halves(found.blocks)
    assert mask.any()
    assert not (mask & search).any()
    assert not set(found.blocks[search]) & set(found.blocks[~search])
    assert rules[FOUND].rows == mask.sum()
    assert words in rules[FOUND].explanation


def test_no_search_where_the_spec_wants_none_and_none_found_in_too_few_rows() -> None:
    assert FOUND not in judged(search=False)[1]
    few = judged(minimum_rows=1500)[1][FOUND]
    assert few.decision is Decision.PASS
    assert "none found" in few.explanation


def test_the_way_to_a_slice_is_told_in_words_that_select_its_rows() -> None:
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"word": draw.choice(["x", "y"], 2000), "number": draw.normal(size=2000)})
    table.loc[::7, "number"] = np.nan
    bad = (table["word"] == "x") & (table["number"] > 0.5)
    numbers = weakest.columns(table)
    tree = weakest._grown(numbers, -bad.to_numpy("float64"), 50)
    leaf = weakest._lowest(tree)
    inside = tree.apply(numbers.to_numpy("float32")) == leaf
    assert inside.sum() > 100
    assert inside[bad].mean() > 0.95
    words = weakest.described(tree, leaf, numbers[inside])
    assert words.startswith("number > 0.")
    assert words.endswith((" and word = x", " and word is not y"))
    sent = weakest._grown(numbers, -table["number"].isna().to_numpy("float64"), 50)
    lost = sent.apply(numbers.to_numpy("float32")) == weakest._lowest(sent)
    assert table["number"][lost].isna().any()
    assert "or missing" in weakest.described(sent, weakest._lowest(sent), numbers[lost])
