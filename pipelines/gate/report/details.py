"""What the page and the card show beside the rules: curves, groups, importance, and what the rows were."""

import math
from typing import Any

from pipelines.gate.case import Case
from pipelines.gate.report.explanations import importance
from pipelines.gate.rules import calibration, fairness
from pipelines.training.many_classes import decided, happened


def details(case: Case) -> dict[str, Any]:
    """Plain JSON; a case whose answers are no numbers has no curves."""
    told = {
        "task": case.spec.task,
        "threshold": case.spec.threshold,
        "by": case.stores.who,
        "held_out": _held_out(case),
        "absent": dict(case.absent),
    }
    if not case.sound:
        return told
    return (
        told
        | _classes(case)
        | {
            "calibration": _curves(case),
            "fairness": _fairness(case),
            "importance": importance(case),
        }
    )


def _held_out(case: Case) -> str:
    asked = case.held["event_timestamp"]
    if asked.empty:
        return "none"
    return f"{len(asked):,} rows asked {asked.min():%Y-%m-%d %H:%M} to {asked.max():%Y-%m-%d %H:%M}"


def _curves(case: Case) -> dict[str, Any]:
    """Mean predicted, share that happened and rows, per bin, of everybody who was asked; of many classes, of each."""
    if case.spec.task != "classification":
        return {}
    bins = case.spec.gate.calibration.bins if case.spec.gate.calibration else 10
    return {who: calibration.curve(case.labels, said, bins) for who, said in case.answers.items()}


def _classes(case: Case) -> dict[str, Any]:
    """Of a multiclass: what was taken for what, rows by class and prediction, and each class's curves."""
    names = [str(each) for each in case.spec.label.classes]
    if not names:
        return {}
    truth, bins = happened(case.labels, len(names)), case.spec.gate.calibration
    taken = happened(decided(case.answers["candidate"]), len(names))
    curves = {
        name: {
            who: calibration.curve(truth[:, place], said[:, place], bins.bins if bins else 10)
            for who, said in case.answers.items()
        }
        for place, name in enumerate(names)
    }
    return {
        "classes": {
            "names": names,
            "confusion": (truth.T @ taken).astype(int).tolist(),
            "calibration": curves,
        }
    }


def _fairness(case: Case) -> list[dict[str, Any]]:
    return [
        {"group": _titled(asked, side), "measure": asked.measure, "groups": _rates(case, asked, side)}
        for asked in case.spec.gate.fairness
        if asked.group in case.held
        for side in fairness.sides(case)
    ]


def _titled(asked: Any, side: fairness.Side) -> str:
    return f"{asked.group}, {side.name} against the rest" if side.name else asked.group


def _rates(case: Case, asked: Any, side: fairness.Side) -> list[dict[str, Any]]:
    found = fairness.table(case, asked, side)
    return [
        {"group": str(group), "rows": int(row["rows"]), "judged": bool(row["judged"])}
        | {str(name): _known(rate) for name, rate in row.items() if name not in ("rows", "judged")}
        for group, row in zip(found.index, found.rename(columns=str).to_dict("records"), strict=True)
    ]


def _known(rate: Any) -> float | None:
    """JSON has no NaN, which is the rate of nothing."""
    return float(rate) if math.isfinite(rate) else None
