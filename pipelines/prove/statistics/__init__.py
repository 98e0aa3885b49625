"""Thousands of pairs of models whose difference is known, put to the gate's own rules.

The share found is held against the promise. Beside it stands what the draws leave possible (95% sure, Clopper and
Pearson): none of 2,000 would still allow 0.15%, so a rate that must be below 0.1% is taken from ten times the pairs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pipelines.catalog import Comparison, ModelSpec
from pipelines.catalog.gate_spec import Gate, Slices
from pipelines.contracts import Decision, Rule, Say
from pipelines.prove import Proof
from pipelines.prove.statistics.pairs import World, case, drawn, noise_worth, worth

PROMISE = "at most 2.5% of equal models are promoted, and at most 0.1% of those worse by the margin"
EQUAL, WORSE = 0.025, 0.001
TAIL = 10
"""So many times the pairs for a rate of 0.1%."""
SHORT = 0.05
"""How far power may stay behind what the rows were asked for; its formula is an approximation."""
NOISE, MORE, MOST = 0.4, 0.65, 3.0
"""A model's noise, that of one worse by the margin, and the most that is tried."""
FINE, COARSE, REGRESSED = 0.1, 0.7, 1.05
"""The noise of a candidate that is better everywhere but in one slice, of its champion, and there."""
OTHERS = ("roc_auc", "brier", "mae", "f1")
SURE = 0.95
Row = dict[str, Any]
Line = tuple[Row, str | None]
"""What a table says of one kind of pair, and the breach if there is one."""


@dataclass(frozen=True)
class Rate:
    """How often something happened in so many tries."""

    happened: int
    tries: int

    @property
    def share(self) -> float:
        return self.happened / self.tries

    @property
    def possible(self) -> float:
        """The highest rate that the tries leave possible, 95% sure."""
        from scipy.stats import beta

        if self.happened == self.tries:
            return 1.0
        return float(beta.ppf(SURE, self.happened + 1, self.tries - self.happened))


def prove(pairs: int, seed: int, rows: int, say: Say) -> Proof:
    """Every rate that the gate's rules promise, from so many pairs of so many rows."""
    table: list[Row] = []
    failures: list[str] = []
    for line in lines(pairs, World("log_loss", rows, seed, NOISE, NOISE)):
        row, failure = line()
        say(f"{row['rule']}, {row['pairs are']}: {row['passed']}")
        table.append(row)
        failures += [failure] if failure else []
    return Proof(PROMISE, table, failures)


def lines(pairs: int, world: World) -> Iterator[Callable[[], Line]]:
    """What is tried, in the order in which a reader asks."""
    for metric in (world.metric, *OTHERS):
        yield partial(equal, replace(world, metric=metric), pairs)
    yield partial(worse, world, pairs * TAIL)
    for metric in (world.metric, *OTHERS):
        yield partial(cleared, replace(world, metric=metric), pairs * TAIL)
    for rule in ("better", "not_worse"):
        for power in (0.8, 0.9):
            yield partial(powerful, world, rule, power, pairs)
    yield from (partial(whole, world, pairs), partial(whole, replace(world, candidate=MORE), pairs))
    yield partial(regressed, world, pairs)
    yield from (partial(naive, world, pairs), partial(naive, replace(world, candidate=MORE), pairs))


def equal(world: World, pairs: int) -> Line:
    """`better` on equal pairs: each promotion is a mistake."""
    rule = comparison(world.metric, "better")
    return _limited("equal", world, rule, passed(world, rule, pairs), EQUAL)


def worse(world: World, pairs: int) -> Line:
    """`better` on pairs that are worse by the margin."""
    rule, bad = comparison(world.metric, "better"), replace(world, candidate=MORE)
    return _limited("worse by the margin", bad, rule, passed(bad, rule, pairs), WORSE)


def cleared(world: World, pairs: int) -> Line:
    """`not_worse` on pairs that are worse by exactly the margin."""
    rule, bad = comparison(world.metric, "not_worse"), replace(world, candidate=MORE)
    return _limited("worse by the margin", bad, rule, passed(bad, rule, pairs), WORSE)


def powerful(world: World, name: str, power: float, pairs: int) -> Line:
    """How many rows a rule needs to see twice the margin (`better`) or equality (`not_worse`) so often, and does."""
    rule = comparison(world.metric, name)
    effect = 2 * rule.margin if name == "better" else rule.margin
    other = noise_worth(world.metric, NOISE, effect, MOST) if name == "better" else NOISE
    wanted = _rows_for(replace(world, champion=other), rule, effect, power)
    enough = replace(world, champion=other, rows=wanted)
    found = passed(enough, rule, pairs)
    kind = "better by twice the margin" if name == "better" else "equal"
    row = _row(kind, enough, rule, found) | {"promised": f"about {power:.0%}"}
    short = f"{name}: {wanted:,} rows should show it in {power:.0%}, they do in {found.share:.1%}"
    return row, short if found.share < power - SHORT else None


def whole(world: World, pairs: int) -> Line:
    """Champion, guard and slices together, on equal or on worse pairs."""
    kind, limit = ("equal", EQUAL) if world.candidate == NOISE else ("worse by the margin", WORSE)
    spec = gate(world)
    found = Rate(sum(_promoted(judged(spec, world, n)) for n in range(pairs)), pairs)
    return _limited(kind, world, spec.gate.champion, found, limit, "champion, guard and slices")


def regressed(world: World, pairs: int) -> Line:
    """A candidate that is better as a whole and worse by the slices' margin in one; told, as it has no promise."""
    bad = replace(world, rows=3 * world.rows, candidate=FINE, champion=COARSE, regressed=REGRESSED)
    spec = gate(bad, worth(bad.metric, COARSE, REGRESSED))
    verdicts = [judged(spec, bad, n) for n in range(max(1, pairs // 10))]
    without = sum(
        _promoted([r for r in rules if not r.name.startswith(("slice", "worst"))]) for rules in verdicts
    )
    found = Rate(sum(map(_promoted, verdicts)), len(verdicts))
    row = _row(
        "better, one slice worse by its margin", bad, spec.gate.champion, found, "champion, guard and slices"
    )
    return row | {"promised": f"none; without slices {without / len(verdicts):.1%}"}, None


def naive(world: World, pairs: int) -> Line:
    """What a gate does that promotes whatever has the higher AUC; told, to be beside the others."""
    from pipelines.training.metrics import measure

    def higher(number: int) -> bool:
        pair = drawn(replace(world, metric="roc_auc"), number)
        one, other = (measure("roc_auc", pair.labels, said) for said in (pair.candidate, pair.champion))
        return one > other

    kind = "equal" if world.candidate == NOISE else "worse by the margin"
    found = Rate(sum(map(higher, range(pairs))), pairs)
    return _row(kind, world, comparison("roc_auc", "better"), found, "the naive way: AUC is higher"), None


def comparison(metric: str, rule: str) -> Comparison:
    """The rule as a spec has it that leaves all to the defaults; its margin is what MORE noise costs."""
    return Comparison.model_validate({"metric": metric, "rule": rule, "margin": worth(metric, NOISE, MORE)})


def passed(world: World, rule: Comparison, pairs: int) -> Rate:
    """How many pairs the gate's own rule passes."""
    from pipelines.gate.rules.comparisons import paired

    spec = _spec()
    said = (paired("champion", rule, case(spec, drawn(world, n), table=False)).decision for n in range(pairs))
    return Rate(sum(decision is Decision.PASS for decision in said), pairs)


def gate(world: World, margin: float = 0.05) -> ModelSpec:
    """A gate with a guard and slices beside its champion rule."""
    slices = Slices(columns=("origin", "distance"), margin=margin)
    guard = comparison("roc_auc", "not_worse").model_copy(update={"margin": 0.02})
    champion = comparison(world.metric, "better")
    judge = Gate(floors={"roc_auc": 0.5}, champion=champion, guards=(guard,), slices=slices)
    return _spec().model_copy(update={"gate": judge})


def judged(spec: ModelSpec, world: World, number: int) -> list[Rule]:
    """What the gate's rules against the champion say of one pair."""
    from pipelines.gate.rules import comparisons, slices

    found = case(spec, drawn(world, number))
    against = [rule for rule in comparisons.check(found) if rule.name.endswith("champion's")]
    return against + slices.check(found)


def _spec() -> ModelSpec:
    from pipelines import catalog

    return catalog.model(catalog.REFERENCE)


def _promoted(rules: list[Rule]) -> bool:
    return bool(rules) and all(rule.decision is Decision.PASS for rule in rules)


def _rows_for(world: World, rule: Comparison, effect: float, power: float) -> int:
    """What the gate would tell a person who asks how many rows are needed, averaged over a hundred pairs."""
    from pipelines.gate.intervals import needed, paired_improvement

    told = []
    for number in range(100):
        pair = drawn(world, number)
        found = paired_improvement(
            rule.metric, pair.labels, pair.candidate, pair.champion, pair.hours, rule.level
        )
        told.append(needed(found, effect, rule.level, world.rows, power) or world.rows)
    return round(sum(told) / len(told))


def _limited(
    kind: str, world: World, rule: Comparison, found: Rate, limit: float, name: str | None = None
) -> Line:
    row = _row(kind, world, rule, found, name) | {"promised": f"at most {limit:.1%}"}
    broken = f"{row['rule']} on {rule.metric}, pairs {kind}: {row['passed']}, promised at most {limit:.1%}"
    return row, broken if found.share > limit else None


def _row(kind: str, world: World, rule: Comparison, found: Rate, name: str | None = None) -> Row:
    return {
        "rule": name or rule.rule,
        "metric": rule.metric,
        "pairs are": kind,
        "rows (hours)": f"{world.rows:,} ({world.hours:,})",
        "passed": f"{found.happened:,} of {found.tries:,}: {found.share:.2%}",
        "possible": f"{found.possible:.2%}",
        "promised": "-",
        "margin": f"{rule.margin:.5f}",
    }
