"""Hands in the gate: each makes it let a worse candidate through, as a mistake or somebody in a hurry would."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from pipelines.contracts import Candidate, Decision, Rule, Verdict
from pipelines.prove.gates.bench import Bench
from pipelines.stages import gate
from pipelines.stages.gate import bounds, case, comparisons, record
from pipelines.stores.tracking import CHAMPION, Tracking

Hand = Callable[[Bench], Any]
"""A context in which the gate is sabotaged."""


@dataclass(frozen=True)
class Sabotage:
    """`during` is what is done to the gate while it judges, `after` what is done to its verdict."""

    name: str
    during: Hand | None = None
    after: Callable[[Bench, int, int], None] | None = None


@contextmanager
def _patched(*targets: tuple[Any, str, Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for owner, name, instead in targets:
            stack.enter_context(patch.object(owner, name, instead))
        yield


def _passing(rule: Rule) -> Rule:
    return replace(rule, decision=Decision.PASS)


def self_comparison(bench: Bench) -> Any:
    """The challenger is compared with itself."""
    return _patched((case, "_other", lambda found, _version: found.answers["candidate"]))


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
    """One version is scored, another promoted."""
    good = bench.stores.tracking.load(bench.spec.name, bench.champion or 0)
    return _patched((case.Case, "model", property(lambda _self: good)))


def flipped_sign(bench: Bench) -> Any:
    real = comparisons.paired

    def flipped(who: str, comparison: Any, found: Any) -> Rule:
        rule = real(who, comparison, found)
        ends = (-(rule.high or 0), -(rule.low or 0), -(rule.value or 0))
        return _decided(replace(rule, low=ends[0], high=ends[1], value=ends[2]))

    return _patched((comparisons, "paired", flipped))


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
    """Another metric under the name of the one that was asked for: accuracy, which does not see the difference."""
    real = comparisons.paired
    other = {"classification": "accuracy", "regression": "median_ae"}[bench.spec.task]

    def swapped(who: str, comparison: Any, found: Any) -> Rule:
        rule = real(
            who, comparison.model_copy(update={"metric": other, "margin": 0.2, "rule": "not_worse"}), found
        )
        name = comparisons.title(who, comparison)
        return replace(
            rule, name=name, metric=comparison.metric, bound=comparison.bound, confidence=comparison.level
        )

    return _patched((comparisons, "paired", swapped))


def floor_upside_down(bench: Bench) -> Any:
    """At least reads as at most, and everybody is better than the champion."""
    real = bounds.bounded
    return _patched(
        (bounds, "bounded", lambda f, m, b, at_least: real(f, m, b, not at_least)),
        (comparisons, "paired", lambda who, c, f: Rule(comparisons.title(who, c), Decision.PASS, "better")),
    )


def own_labels(bench: Bench) -> Any:
    """The answers themselves are taken for the truth."""
    return _patched(
        (case.Case, "labels", property(lambda self: (self.answers["candidate"] > 0.5).astype("float64")))
    )


def hidden_champion(bench: Bench) -> Any:
    """The gate is told that there is no champion yet."""
    return _patched((Tracking, "champion", lambda *_: None))


def old_rows(bench: Bench) -> Any:
    """The rows it learned from are judged on, not those held out."""
    import pandas as pd

    real = pd.read_parquet

    def read(*given: Any, **named: Any) -> Any:
        rows = real(*given, **named)
        return rows.assign(split="holdout") if "split" in rows else rows

    return _patched((pd, "read_parquet", read))


def picked_rows(bench: Bench) -> Any:
    """Only rows on which the candidate looks good."""
    real = gate.opened

    def picked(*given: Any) -> Any:
        found = real(*given)
        wrong = abs(found.labels - found.answers["candidate"])
        rows = found.held[wrong < sorted(wrong)[len(wrong) // 2]].reset_index(drop=True)
        chosen = replace(found, held=rows, answers={}, absent={})
        case.asked(chosen)
        return chosen

    return _patched((gate, "opened", picked))


def _decided(rule: Rule) -> Rule:
    low, high, bound = rule.low or 0, rule.high or 0, rule.bound or 0
    if low > bound:
        return _passing(rule)
    return replace(rule, decision=Decision.FAIL if high < bound else Decision.INCONCLUSIVE)


def edited_record(bench: Bench, bad: int, good: int) -> None:
    """The record on disk says PASS, and the version's tag its new digest."""
    path = record.path_of(bench.spec.name, bad, bench.stores)
    text = path.read_text().replace("FAIL", "PASS").replace("INCONCLUSIVE", "PASS")
    path.write_text(text)
    tags = {record.DIGEST: hashlib.sha256(text.encode()).hexdigest(), record.VERDICT: "PASS"}
    bench.stores.tracking.tag(bench.spec.name, bad, tags)


def borrowed_record(bench: Bench, bad: int, good: int) -> None:
    """The record, the evidence and the tags of a version that passed."""
    for suffix in (".json", ".html"):
        shutil.copy(
            *(record.path_of(bench.spec.name, v, bench.stores).with_suffix(suffix) for v in (good, bad))
        )
    folders = [record.path_of(bench.spec.name, v, bench.stores).with_suffix("") for v in (good, bad)]
    shutil.copytree(folders[0], folders[1], dirs_exist_ok=True)
    theirs = bench.stores.tracking.version(bench.spec.name, good).tags
    names = (record.DIGEST, record.SIGNATURE, record.VERDICT)
    bench.stores.tracking.tag(bench.spec.name, bad, {name: theirs[name] for name in names})


def borrowed_licence(bench: Bench, bad: int, good: int) -> None:
    """The licence of the champion, and the alias by hand."""
    theirs = bench.stores.tracking.version(bench.spec.name, good).tags
    bench.stores.tracking.tag(bench.spec.name, bad, {n: theirs[n] for n in theirs if n.startswith("licence")})
    bench.stores.tracking.set_alias(bench.spec.name, CHAMPION, bad)


def forged_verdict(bench: Bench, bad: int, good: int) -> None:
    """A record of one's own, written and signed by the gate's own hand without judging."""
    found = bench.stores.tracking.version(bench.spec.name, bad)
    mine = record.read(found, bench.stores)
    kept = tuple(_passing(rule) for rule in mine.rules)
    _sign(bench, bad, replace(mine, decision=Decision.PASS, rules=kept))


def _sign(bench: Bench, version: int, verdict: Verdict) -> None:
    from pipelines.contracts import as_json

    text = json.dumps(as_json(verdict), indent=2)
    record.path_of(bench.spec.name, version, bench.stores).write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    found = bench.stores.tracking.version(bench.spec.name, version)
    signature = bench.stores.keys.sign(record._statement(found, digest))
    tags = {record.DIGEST: digest, record.SIGNATURE: signature, record.VERDICT: "PASS"}
    bench.stores.tracking.tag(bench.spec.name, version, tags)


def swapped_file(bench: Bench, bad: int, good: int) -> None:
    """Judged one file, then put another in its place."""
    files = [
        bench.stores.tracking.file(bench.stores.tracking.version(bench.spec.name, v)) for v in (good, bad)
    ]
    shutil.copy(*files)


SABOTAGES: tuple[Sabotage, ...] = (
    Sabotage("compares the challenger with itself", self_comparison),
    Sabotage("sets its flag to true", flag),
    Sabotage("calls every rule passed", every_rule_passes),
    Sabotage("dry run: tries nothing", dry_run),
    Sabotage("keeps only the rules that passed", only_good_news),
    Sabotage("leaves out checks that fail", errors_swallowed),
    Sabotage("scores one version, promotes another", another_version_scored),
    Sabotage("flips the sign", flipped_sign),
    Sabotage("narrows the interval", narrow_interval),
    Sabotage("widens the margin", wide_margin),
    Sabotage("lowers the confidence", low_confidence),
    Sabotage("swaps the metric", swapped_metric),
    Sabotage("turns the floors upside down", floor_upside_down),
    Sabotage("takes answers for the truth", own_labels),
    Sabotage("does not see the champion", hidden_champion),
    Sabotage("judges on the rows it learned from", old_rows),
    Sabotage("judges on rows it picked", picked_rows),
    Sabotage("edits the record afterwards", after=edited_record),
    Sabotage("borrows the record of another version", after=borrowed_record),
    Sabotage("signs a verdict that nobody gave", after=forged_verdict),
    Sabotage("borrows a licence and moves the alias by hand", after=borrowed_licence),
    Sabotage("swaps the file after the verdict", after=swapped_file),
)


def committed(bench: Bench, each: Sabotage, bad: Candidate, good: int) -> tuple[Decision, str]:
    """What the sabotaged gate said, and what became of the promotion."""
    if each.during is not None:
        with each.during(bench):
            said = bench.judge(bad).decision
    else:
        said = bench.judge(bad).decision
    if each.after is not None:
        each.after(bench, bad.version, good)
    return said, bench.promote(bad.version).reason
