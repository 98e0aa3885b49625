"""The gate: scores candidate, champion and baseline on identical held-out rows and says why."""

import hashlib
import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import Comparison, ModelSpec
from pipelines.contracts import Candidate, Decision, EvergreenError, Rule, TrainingSet, Verdict, as_json
from pipelines.stages import statistics
from pipelines.stages.train import inputs_of
from pipelines.stages.training_set import as_served
from pipelines.stores import Stores
from pipelines.stores.tracking import Version

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

PAGE = """<!doctype html><meta charset=utf-8><title>{title}</title>
<style>
body {{ font: 15px sans-serif; margin: 2em; max-width: 60em }}
table {{ border-collapse: collapse; margin: 1em 0 }}
td, th {{ border: 1px solid #ccc; padding: .4em .7em; text-align: left }}
.pass {{ background: #eef6f0 }} .fail {{ background: #fbe9e7 }} .inconclusive {{ background: #fff8e1 }}
</style>
<h1>{title}</h1><p>{facts}</p>
<table><tr><th>rule</th><th></th><th>why</th></tr>{rules}</table>
<table><tr><th></th>{head}</tr>{body}</table>
"""
Scores = dict[str, "NDArray[Any]"]


def evaluate(spec: ModelSpec, candidate: Candidate, training_set: TrainingSet, stores: Stores) -> Verdict:
    """The verdict on exactly this candidate, written down and bound to its digest.

    Any rule that fails makes it FAIL; else any that cannot tell makes it INCONCLUSIVE; else PASS.
    """
    import pandas as pd

    held = pd.read_parquet(training_set.path)
    held = held[held["split"] == "holdout"].reset_index(drop=True)
    version = stores.tracking.version(spec.name, candidate.version)
    champion = stores.tracking.champion(spec.name)
    rules, scores = _judged(spec, version, champion, held, stores)
    verdict = Verdict(
        model=spec.name,
        version=version.version,
        digest=version.digest,
        decision=overall(rules),
        rules=tuple(rules),
        rows=len(held),
        metrics={name: measures(held["label"], chances) for name, chances in scores.items()},
        champion_version=champion.version if champion else None,
        training_set=training_set.digest,
        as_of=training_set.as_of,
    )
    return _recorded(spec, version, verdict, held, scores, stores)


def evaluate_on(spec: ModelSpec, version: Version, rows: "pd.DataFrame", stores: Stores) -> dict[str, Any]:
    """A version's metrics beside its baseline's on rows of any later time."""
    scores = {
        "candidate": chances(stores.tracking.load(spec.name, version.version), rows),
        "baseline": chances(stores.tracking.load_baseline(version), rows),
    }
    return {name: measures(rows["label"], found) for name, found in scores.items()}


def chances(model: Any, rows: "pd.DataFrame") -> "NDArray[Any]":
    """The probability of the positive class for each row."""
    import numpy as np

    return np.asarray(model.predict_proba(inputs_of(rows, model))[:, 1], dtype="float64")


def measures(labels: "pd.Series[Any]", found: "NDArray[Any]") -> dict[str, float]:
    """AUC, average precision, log loss, Brier score, rows and share of positives."""
    import numpy as np
    from sklearn import metrics

    facts = {"rows": float(len(labels)), "prevalence": float(labels.mean()) if len(labels) else 0.0}
    if labels.nunique() < 2 or not np.isfinite(found).all():
        return facts
    return facts | {
        "roc_auc": float(metrics.roc_auc_score(labels, found)),
        "average_precision": float(metrics.average_precision_score(labels, found)),
        "log_loss": float(metrics.log_loss(labels, found)),
        "brier": float(metrics.brier_score_loss(labels, found)),
    }


def overall(rules: Iterable[Rule]) -> Decision:
    """The worst of the rules; no rule at all decides nothing."""
    said = {rule.decision for rule in rules}
    for decision in (Decision.FAIL, Decision.INCONCLUSIVE, Decision.PASS):
        if decision in said:
            return decision
    return Decision.INCONCLUSIVE


def _judged(
    spec: ModelSpec, version: Version, champion: Version | None, held: "pd.DataFrame", stores: Stores
) -> tuple[list[Rule], Scores]:
    import numpy as np

    least = spec.gate.minimum_rows
    enough = Decision.PASS if len(held) >= least else Decision.INCONCLUSIVE
    rules = [Rule("enough rows", enough, f"{len(held):,} held-out rows, {least:,} needed", len(held), least)]
    scores = {"candidate": chances(stores.tracking.load(spec.name, version.version), held)}
    sound = bool(np.isfinite(scores["candidate"]).all() and len(held) and held["label"].nunique() == 2)
    rules.append(_finite(sound))
    if not sound:
        return rules, scores
    rules += _bounds(spec, measures(held["label"], scores["candidate"]))
    scores["baseline"] = chances(stores.tracking.load_baseline(version), held)
    rules.append(paired("baseline", spec.gate.baseline, held, scores))
    rules.append(_against(spec, version, champion, held, scores, stores))
    return rules, scores


def _finite(sound: bool) -> Rule:
    fine, broken = (
        "every prediction is a number",
        "a prediction is not a number, or the labels have one class",
    )
    why = fine if sound else broken
    return Rule("sound predictions", Decision.PASS if sound else Decision.FAIL, why)


def _bounds(spec: ModelSpec, found: dict[str, float]) -> list[Rule]:
    """Fixed floors (at least) and ceilings (at most)."""
    rules = []
    for name, floor in spec.gate.floors.items():
        good = Decision.PASS if found[name] >= floor else Decision.FAIL
        rules.append(Rule(f"{name} floor", good, f"{found[name]:.4f}, at least {floor}", found[name], floor))
    for loss, ceiling in spec.gate.ceilings.items():
        good = Decision.PASS if found[loss] <= ceiling else Decision.FAIL
        rules.append(
            Rule(f"{loss} ceiling", good, f"{found[loss]:.4f}, at most {ceiling}", found[loss], ceiling)
        )
    return rules


def paired(name: str, rule: Comparison, held: "pd.DataFrame", scores: Scores) -> Rule:
    """The candidate against another on the same rows, blocked by hour and origin of the question."""
    import numpy as np

    labels = held["label"].to_numpy(dtype="float64")
    ours, theirs = (statistics.losses(rule.metric, labels, scores[who]) for who in ("candidate", name))
    hours = held["event_timestamp"].astype("int64").to_numpy() // np.int64(3_600_000_000)
    found = statistics.improvement(ours, theirs, hours, rule.level)
    bound = 0.0 if rule.rule == "better" else -rule.margin
    why = (
        f"{rule.metric} improves on the {name} by {found.mean:.5f} "
        f"({rule.level:.0%} interval {found.low:.5f} to {found.high:.5f}, {found.blocks} hours); "
        f"must lie above {bound}"
    )
    return Rule(
        f"{rule.rule} than the {name}",
        statistics.decide(rule, found),
        why,
        found.mean,
        bound,
        found.low,
        found.high,
    )


def _against(
    spec: ModelSpec,
    version: Version,
    champion: Version | None,
    held: "pd.DataFrame",
    scores: Scores,
    stores: Stores,
) -> Rule:
    """The rule against the champion; a candidate is never compared with itself."""
    title = f"{spec.gate.champion.rule} than the champion"
    if champion is None:
        return Rule(title, Decision.PASS, "there is no champion yet; floors and baseline decide")
    if champion.digest == version.digest:
        return Rule(
            title, Decision.INCONCLUSIVE, f"the candidate is the champion (version {champion.version}) itself"
        )
    if (held["label_known_at"] < champion.as_of - spec.training.holdout).any():
        return Rule(
            title, Decision.INCONCLUSIVE, "the champion has learned from these rows; ask with newer ones"
        )
    try:
        rows = held if champion.views == version.views else _asked_anew(spec, champion, held, stores)
        scores["champion"] = chances(stores.tracking.load(spec.name, champion.version), rows)
    except EvergreenError as error:
        return Rule(title, Decision.INCONCLUSIVE, f"the champion cannot answer for these rows: {error}")
    return paired("champion", spec.gate.champion, held, scores)


def _asked_anew(spec: ModelSpec, champion: Version, held: "pd.DataFrame", stores: Stores) -> "pd.DataFrame":
    """The same held-out rows with the champion's own features: those of the view versions it answers with."""
    return as_served(spec, held[[str(name) for name in held if "__" not in str(name)]], champion, stores)


def _recorded(
    spec: ModelSpec, version: Version, verdict: Verdict, held: "pd.DataFrame", scores: Scores, stores: Stores
) -> Verdict:
    """Write the decision record and its page, bind it to the version by its digest, and log both."""
    from dataclasses import replace

    from pipelines.stages.plots import draw

    folder = stores.settings.home / "decisions" / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / f"{verdict.version}.json"
    final = replace(verdict, record=str(record))
    text = json.dumps(as_json(final) | {"spec_digest": spec.digest, "tags": dict(version.tags)}, indent=2)
    page = record.with_suffix(".html")
    page.write_text(_page(final))
    part = record.with_suffix(".part")
    part.write_text(text)
    part.replace(record)
    stores.tracking.log_metrics(version.run_id, final.metrics)
    plots = draw(
        spec, stores.tracking.load(spec.name, version.version), held, scores, folder / str(verdict.version)
    )
    stores.tracking.log_files(version.run_id, "decision", record, page)
    stores.tracking.log_files(version.run_id, "plots", *plots)
    tags = {"verdict": final.decision.value, "record_digest": hashlib.sha256(text.encode()).hexdigest()}
    stores.tracking.tag(spec.name, version.version, tags)
    return final


def read_record(path: Path, expected: str) -> dict[str, Any]:
    """A decision record, refused if it is not the one that was bound to the version."""
    if not path.exists():
        raise EvergreenError(f"there is no decision record {path}; run `evergreen evaluate` first")
    text = path.read_text()
    if hashlib.sha256(text.encode()).hexdigest() != expected:
        raise EvergreenError(f"{path} is not the record the gate wrote; run `evergreen evaluate` again")
    return dict(json.loads(text))


def _page(verdict: Verdict) -> str:
    """The record as a page a person reads."""
    rules = "".join(
        f"<tr class={r.decision.value.lower()}><td>{escape(r.name)}</td><td>{r.decision.value}</td>"
        f"<td>{escape(r.explanation)}</td></tr>"
        for r in verdict.rules
    )
    names = ("roc_auc", "average_precision", "log_loss", "brier")
    head = "".join(f"<th>{n}</th>" for n in names)
    body = "".join(
        f"<tr><td>{who}</td>" + "".join(f"<td>{found.get(n, float('nan')):.4f}</td>" for n in names) + "</tr>"
        for who, found in verdict.metrics.items()
    )
    return PAGE.format(
        title=f"{escape(verdict.model)} {verdict.version}: {verdict.decision.value}",
        facts=f"As of {verdict.as_of.isoformat()}, on {verdict.rows:,} held-out rows; champion then: "
        f"{verdict.champion_version}. Model digest <code>{verdict.digest}</code>, training set "
        f"<code>{verdict.training_set}</code>.",
        rules=rules,
        head=head,
        body=body,
    )
