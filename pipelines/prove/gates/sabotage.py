"""Hands in the gate: each makes it let a worse candidate through, as a mistake or somebody in a hurry would."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from pipelines import gate
from pipelines.contracts import Candidate, Decision, EvergreenError, Kind, Rule
from pipelines.gate import case
from pipelines.gate.estimates import losses
from pipelines.gate.rules import bounds, comparisons, rebuild, slices
from pipelines.prove.gates import forgeries
from pipelines.prove.gates.bench import Bench, weakened, with_parameters
from pipelines.prove.gates.candidates import memorised
from pipelines.stores.tracking.registry import Tracking
from pipelines.training.many_classes import decided

TWIN = {"random_state": 7, "C": 0.9, "alpha": 1.1, "n_neighbors": 7}
Hand = Callable[[Bench], Any]
"""A context in which the gate is sabotaged."""


@dataclass(frozen=True)
class Sabotage:
    """`during` is what is done to the gate while it judges, `after` what is done to its verdict.

    It judges a candidate that has learned little, one as good as the champion where only `tied` ones show the hand, or
    the one that `plant` makes.
    """

    name: str
    during: Hand | None = None
    after: Callable[[Bench, int, int], None] | None = None
    tied: bool = False
    plant: Callable[[Bench], tuple[Candidate, Any]] | None = None

    def planted(self, bench: Bench) -> Candidate:
        """A candidate made as honestly as any, if no other is asked for: it is only no better."""
        if self.plant is not None:
            return self.plant(bench)[0]
        changed = with_parameters(bench.spec, **TWIN) if self.tied else weakened(bench.spec)
        return bench.plant(spec=changed)


@contextmanager
def _patched(*targets: tuple[Any, str, Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for owner, name, instead in targets:
            stack.enter_context(patch.object(owner, name, instead))
        yield


def _ties_win(rule: Any, found: Any) -> Decision:
    return Decision.PASS if found.low >= rule.bound else Decision.FAIL


def _passing(rule: Rule) -> Rule:
    return replace(rule, decision=Decision.PASS)


def self_comparison(bench: Bench) -> Any:
    """The challenger is compared with itself, and a tie is enough."""
    return _patched(
        (case, "_other", lambda found, _version: found.answers["candidate"]),
        (comparisons, "decide", _ties_win),
    )


def flag(bench: Bench) -> Any:
    """The flag is read, then set to true."""
    return _patched((gate, "overall", lambda _rules: Decision.PASS))


def every_rule_passes(bench: Bench) -> Any:
    real = gate.judged
    return _patched((gate, "judged", lambda found: [_passing(rule) for rule in real(found)]))


def dry_run(bench: Bench) -> Any:
    """Nothing is tried."""
    return _patched((gate, "CHECKS", ()))


def only_good_news(bench: Bench) -> Any:
    real = gate.judged
    return _patched(
        (gate, "judged", lambda found: [r for r in real(found) if r.decision is Decision.PASS]),
    )


def errors_swallowed(bench: Bench) -> Any:
    """A check that fails is left out, as by an `except: pass`."""
    return _patched((gate, "CHECKS", (gate.CHECKS[0],)))


def another_version_scored(bench: Bench) -> Any:
    """The champion is scored, another version promoted."""
    good = bench.stores.tracking.load(bench.spec.name, bench.champion or 0)
    return _patched(
        (case.Case, "model", property(lambda _self: good)),
        (comparisons, "decide", _ties_win),
    )


def flipped_sign(bench: Bench) -> Any:
    """Worse than the champion reads as better, as a whole and in every slice."""
    real, sliced = comparisons.paired, slices._compared

    def flipped(who: str, comparison: Any, found: Any) -> Rule:
        rule = real(who, comparison, found)
        return _turned(rule) if who == "champion" else rule

    return _patched(
        (comparisons, "paired", flipped),
        (slices, "_compared", lambda *given: _turned(sliced(*given))),
    )


def _turned(rule: Rule) -> Rule:
    if rule.value is None:
        return rule
    return _decided(replace(rule, value=-rule.value, low=-(rule.high or 0), high=-(rule.low or 0)))


def narrow_interval(bench: Bench) -> Any:
    """As if every row were a hundred, and one standard error better."""
    real = comparisons.paired

    def narrowed(who: str, comparison: Any, found: Any) -> Rule:
        rule = real(who, comparison, found)
        middle, half = rule.high or 0, ((rule.high or 0) - (rule.low or 0)) / 20
        return _decided(replace(rule, value=middle, low=middle - half, high=middle + half))

    return _patched((comparisons, "paired", narrowed))


def wide_margin(bench: Bench) -> Any:
    """The bound is moved until the candidate fits."""
    real = comparisons.paired
    return _patched(
        (comparisons, "paired", lambda *a: _decided(replace(real(*a), bound=-10.0))),
    )


def low_confidence(bench: Bench) -> Any:
    """The interval is asked for at 51%."""
    real = comparisons.paired
    return _patched(
        (comparisons, "paired", lambda w, c, f: real(w, c.model_copy(update={"confidence": 0.51}), f))
    )


def swapped_metric(bench: Bench) -> Any:
    """Another metric under the name of the one that was asked for, one that does not see the difference."""
    real = comparisons.paired
    other = "median_ae" if bench.spec.task == "regression" else "accuracy"

    def swapped(who: str, comparison: Any, found: Any) -> Rule:
        rule = real(
            who, comparison.model_copy(update={"metric": other, "margin": 0.2, "rule": "not_worse"}), found
        )
        name = comparisons.title(who, comparison)
        return replace(
            rule, name=name, metric=comparison.metric, bound=comparison.bound, confidence=comparison.level
        )

    return _patched((comparisons, "paired", swapped))


def floors_lowered(bench: Bench) -> Any:
    """Floors at 0, and everybody is better than anybody."""
    real = bounds.bounded
    return _patched(
        (bounds, "bounded", lambda f, m, b, at_least: real(f, m, 0.0 if at_least else 1e6, at_least)),
        (comparisons, "paired", lambda who, c, f: Rule(comparisons.title(who, c), Decision.PASS, "better")),
    )


def own_labels(bench: Bench) -> Any:
    """The answers themselves are taken for the truth."""

    def believed(self: case.Case) -> Any:
        said = self.answers["candidate"]
        if self.spec.outputs > 1:
            return decided(said).astype("float64")
        return said if self.spec.task == "regression" else (said > 0.5).astype("float64")

    return _patched((case.Case, "labels", property(believed)))


def hidden_champion(bench: Bench) -> Any:
    """The gate is told that there is no champion yet."""
    return _patched((Tracking, "champion", lambda *_: None))


def old_rows(bench: Bench) -> Any:
    """The rows it learned from are judged on, not those held out."""
    import pandas as pd

    def learned(found: case.Case) -> "pd.DataFrame":
        rows = pd.read_parquet(found.training_set.path)
        return rows[rows["split"] == "train"].tail(len(found.held))

    return _on_rows(learned)


def picked_rows(bench: Bench) -> Any:
    """Only rows on which the candidate does better than the champion, of either class."""

    def picked(found: case.Case) -> Any:
        far = [_away(found, who) for who in ("champion", "candidate")]
        rows = found.held.assign(gain=far[0] - far[1]).sort_values("gain")
        kinds, by = max(2, bench.spec.outputs), "split" if bench.spec.task == "regression" else "label"
        best = rows.groupby(by).tail(len(rows) // (2 * kinds))
        return best.drop(columns="gain").sort_index()

    return _on_rows(picked)


def _away(found: case.Case, who: str) -> Any:
    """How far an answer to each row is from what happened."""
    said = found.answers[who]
    return losses("log_loss", found.labels, said) if said.ndim > 1 else abs(found.labels - said)


def _on_rows(chosen: Callable[[case.Case], Any]) -> Any:
    """The gate opens its case on other rows than those held out."""
    real = gate.opened

    def opened(*given: Any) -> Any:
        found = real(*given)
        other = replace(found, held=chosen(found).reset_index(drop=True), answers={}, absent={})
        case.asked(other)
        return other

    return _patched((gate, "opened", opened))


def believes_the_record(bench: Bench) -> Any:
    """Neither rows nor model are made again, both are said to be equal."""
    made = [Rule(name, Decision.PASS, "as ever", kind=Kind.FACT) for name in (rebuild.ROWS, rebuild.MODEL)]
    checks = tuple((lambda _: made) if check is rebuild.check else check for check in gate.CHECKS)
    return _patched((gate, "CHECKS", checks))


def _decided(rule: Rule) -> Rule:
    low, high, bound = rule.low or 0, rule.high or 0, rule.bound or 0
    if low > bound or (rule.kind is Kind.NOT_BELOW and (rule.value or 0) > bound):
        return _passing(rule)
    return replace(rule, decision=Decision.FAIL if high < bound else Decision.INCONCLUSIVE)


SABOTAGES: tuple[Sabotage, ...] = (
    Sabotage("compares the challenger with itself", self_comparison, tied=True),
    Sabotage("sets its flag to true", flag),
    Sabotage("calls every rule passed", every_rule_passes),
    Sabotage("dry run: tries nothing", dry_run),
    Sabotage("keeps only the rules that passed", only_good_news),
    Sabotage("leaves out checks that fail", errors_swallowed),
    Sabotage("scores one version, promotes another", another_version_scored),
    Sabotage("flips the sign", flipped_sign),
    Sabotage("narrows the interval", narrow_interval, tied=True),
    Sabotage("widens the margin", wide_margin, tied=True),
    Sabotage("lowers the confidence", low_confidence, tied=True),
    Sabotage("swaps the metric", swapped_metric, tied=True),
    Sabotage("lowers the floors and calls everybody better", floors_lowered),
    Sabotage("takes answers for the truth", own_labels),
    Sabotage("does not see the champion", hidden_champion),
    Sabotage("judges on the rows it learned from", old_rows),
    Sabotage("judges on rows it picked", picked_rows),
    Sabotage("believes the record of one that saw the held-out rows", believes_the_record, plant=memorised),
    Sabotage(
        "puts its own answers where the second making is kept",
        believes_the_record,
        forgeries.own_rebuild,
        plant=memorised,
    ),
    Sabotage("edits the record afterwards", after=forgeries.edited_record),
    Sabotage("borrows the record of another version", after=forgeries.borrowed_record),
    Sabotage("signs a verdict that nobody gave", after=forgeries.forged_verdict),
    Sabotage("borrows a licence and moves the alias by hand", after=forgeries.borrowed_licence),
    Sabotage("swaps the file after the verdict", after=forgeries.swapped_file),
)


def committed(bench: Bench, each: Sabotage, good: int) -> tuple[str, str]:
    """What the sabotaged gate said, and what became of the promotion."""
    bad = each.planted(bench)
    with each.during(bench) if each.during is not None else nullcontext():
        try:
            said = bench.judge(bad).decision.value
        except EvergreenError as error:
            return "refused", str(error)
    if each.after is not None:
        each.after(bench, bad.version, good)
    return said, bench.promote(bad.version).reason
