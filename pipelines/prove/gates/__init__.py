"""Bad candidates and sabotaged gates: none of them makes a champion, and an honest better one does."""

from typing import Any

from pipelines.catalog import ModelSpec, model
from pipelines.contracts import Decision, EvergreenError, Say, Verdict
from pipelines.prove import Proof
from pipelines.prove.gates.bench import Bench, built, named, weakened
from pipelines.prove.gates.candidates import CANDIDATES, Bad
from pipelines.prove.gates.sabotage import SABOTAGES, Sabotage, committed
from pipelines.prove.ingestion import scratch

PROMISE = "No bad candidate becomes champion, no sabotaged gate makes one, and a better candidate does"
Row = dict[str, Any]
WEEKS = 3
"""So long an honest candidate may wait for rows that tell."""


def prove(name: str, days: int | None, cases: int | None, seed: int, say: Say) -> Proof:
    """`cases` of each kind are tried, all if None; which of them, the seed says."""
    spec = model(name)
    with scratch() as home:
        bench = built(spec, home, days, seed, say)
        rows = controls(bench, say)
        failures = [row.pop("failure") for row in rows if row.get("failure")]
        if not failures:
            for row in [*_bad(bench, cases, seed, say), *_sabotaged(bench, cases, seed, say)]:
                failure = row.pop("failure", None)
                rows.append(row)
                failures += [failure] if failure else []
    return Proof(PROMISE, [{k: v for k, v in row.items() if k != "failure"} for row in rows], failures)


def controls(bench: Bench, say: Say) -> list[Row]:
    """A gate that never opens closes nothing: a first champion, then a better one; each may wait some weeks."""
    asked = (
        ("control: the first champion, weak", weakened(bench.spec)),
        ("control: a better candidate", bench.spec),
    )
    return [_control(bench, case, spec, say) for case, spec in asked]


def _control(bench: Bench, case: str, spec: ModelSpec, say: Say) -> Row:
    """Judged with the rows there are; where they cannot tell, again with another week's."""
    for weeks in range(WEEKS + 1):
        made = bench.plant(spec=spec)
        verdict = bench.judge(made, spec=spec)
        answer = bench.promote(made.version)
        if answer.promoted or verdict.decision is not Decision.INCONCLUSIVE or weeks == WEEKS:
            break
        say(f"{case}, after {weeks} weeks more: {_against(verdict)}; another week lands")
        bench.later(say)
    row: Row = {
        "case": case, "gate": verdict.decision.value, "rule": f"every rule, after {weeks} weeks more",
        "promoted": answer.promoted,
    }  # fmt: skip
    if not answer.promoted:
        row["failure"] = f"{case} was not promoted: {answer.reason}; {_against(verdict)}"
    return row


def _against(verdict: Verdict) -> str:
    return "; ".join(f"{r.name}: {r.explanation}" for r in verdict.rules if r.decision is not Decision.PASS)


def _chosen(kinds: Any, cases: int | None, seed: int) -> Any:
    """Every case in turn, from a place the seed names."""
    start = seed % len(kinds)
    return (kinds[start:] + kinds[:start])[: cases or len(kinds)]


def _bad(bench: Bench, cases: int | None, seed: int, say: Say) -> list[Row]:
    rows = []
    for each in _chosen(CANDIDATES, cases, seed):
        if not each.applies(bench.spec):
            rows.append({"case": each.name, "gate": "", "rule": "not declared in the spec", "promoted": ""})
            continue
        rows.append(_tried(bench, each))
        say(f"{each.name}: {rows[-1]['gate']}")
    return rows


def _tried(bench: Bench, each: Bad) -> Row:
    """One bad candidate; caught only if the rule that is there for it says so, and the champion stays."""
    before = bench.champion
    try:
        made, rows = each.plant(bench)
        verdict = bench.judge(made, rows)
    except EvergreenError as error:
        return {"case": each.name, "gate": "refused", "rule": str(error)[:100], "promoted": False}
    rule = named(verdict.rules, each.rule)
    answer = bench.promote(made.version)
    row: Row = {
        "case": each.name, "gate": verdict.decision.value,
        "rule": f"{rule.name}: {rule.decision.value}" if rule else "", "promoted": answer.promoted,
    }  # fmt: skip
    if answer.promoted or bench.champion != before:
        row["failure"] = f"{each.name} became champion"
    elif rule is None or rule.decision is Decision.PASS:
        row["failure"] = f"{each.name}: the rule `{each.rule}` did not see it ({answer.reason})"
    return row


def _sabotaged(bench: Bench, cases: int | None, seed: int, say: Say) -> list[Row]:
    good, rows = bench.champion or 0, []
    for each in _chosen(SABOTAGES, cases, seed):
        rows.append(_attempt(bench, each, good))
        say(f"a gate that {each.name}: {rows[-1]['gate']}")
    opened = sum(row["gate"] == Decision.PASS.value for row in rows)
    say(f"{opened} of {len(rows)} sabotaged gates said PASS; what came after them is what held, or did not")
    return rows


def _attempt(bench: Bench, each: Sabotage, good: int) -> Row:
    """One sabotage; what serves afterwards is what counts."""
    said, reason = committed(bench, each, good)
    serving = _serves(bench)
    row: Row = {
        "case": f"a gate that {each.name}",
        "gate": said,
        "rule": reason[:160],
        "promoted": serving != good,
    }
    if serving != good:
        row["failure"] = f"a gate that {each.name} made version {serving} champion"
    _mended(bench, good)
    return row


def _serves(bench: Bench) -> int:
    """What serving would load now; an alias on a version without a licence of its own moves nothing."""
    version = bench.champion or 0
    try:
        bench.stores.tracking.load_licensed(bench.spec.name, version)
    except EvergreenError:
        return bench.served
    bench.served = version
    return version


def _mended(bench: Bench, good: int) -> None:
    """The alias back to the champion, and the files as they were."""
    from pipelines.stores.tracking.registry import CHAMPION

    bench.stores.tracking.set_alias(bench.spec.name, CHAMPION, good)
    bench.served = good
    for version in bench.stores.tracking.versions(bench.spec.name):
        bench.stores.tracking.file(version)
