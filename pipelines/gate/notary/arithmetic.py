"""The notary's own arithmetic: the gate's numbers, computed from the evidence in another way."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipelines.contracts import Decision, Rule
from pipelines.gate.notary import classes
from pipelines.gate.notary.expected import Demand

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

MORE_IS_BETTER = {"roc_auc", "average_precision", "accuracy", "balanced_accuracy", "f1", "r2"}
DRAWS = 200
NARROW = 0.6
"""An interval narrower than this share of a plain bootstrap's is not believed."""


def mistakes(rule: Rule, demand: Demand, evidence: "pd.DataFrame", close: float) -> Iterator[str]:
    """What is wrong with a rule's numbers."""
    if demand.who is not None:
        yield from _compared(rule, demand, evidence, close)
    elif rule.name.endswith("is believable"):
        found = [metric(rule.metric, evidence["label"], evidence[who]) for who in _everybody(evidence)]
        best = max(found) if rule.metric in MORE_IS_BETTER else min(found)
        yield from differs(rule, best, close)
    else:
        yield from differs(rule, metric(rule.metric, evidence["label"], evidence["candidate"]), close)


def metric(name: str | None, labels: Any, said: Any) -> float:
    """A metric of answers, mostly as numpy's arithmetic on ranks and losses."""
    import numpy as np

    labels, said = np.asarray(labels, dtype="float64"), classes.numbers(said)
    if said.ndim > 1:
        return classes.metric(str(name), labels, said)
    return float(_FUNCTIONS[str(name)](labels, said))


def _everybody(evidence: "pd.DataFrame") -> list[str]:
    return [str(name) for name in evidence if name not in ("label", "block")]


def differs(rule: Rule, found: float, close: float) -> Iterator[str]:
    """What is wrong with a rule's value where another was found."""
    if rule.value is None or not abs(rule.value - found) <= max(close, 1e-6 * abs(found)):
        yield f"`{rule.name}` saw {rule.value}, the evidence says {found:.6f}"


def stated(
    rules: Mapping[str, Rule], name: str, bound: float | None, found: float, close: float
) -> Iterator[str]:
    """What is wrong with a rule that states one number: it is not there, its bound is another, or its value is.

    One that could not tell, and has no number, passes nothing and is left alone.
    """
    rule = rules.get(name)
    if rule is None:
        yield f"the rule `{name}` was not tried"
    elif rule.value is None and rule.decision is not Decision.PASS:
        return
    elif rule.bound != bound:
        yield f"`{name}` was held against {rule.bound}, not {bound}"
    else:
        yield from differs(rule, found, close)


def _compared(rule: Rule, demand: Demand, evidence: "pd.DataFrame", close: float) -> Iterator[str]:
    """The improvement and the width of its interval, against a plain bootstrap over hours."""
    if demand.who not in evidence:
        yield f"`{rule.name}`: the evidence lacks the {demand.who}"
        return
    sign = 1 if rule.metric in MORE_IS_BETTER else -1
    labels, ours, theirs = (classes.numbers(evidence[n]) for n in ("label", "candidate", str(demand.who)))

    def better(rows: Any) -> float:
        return sign * (
            metric(rule.metric, labels[rows], ours[rows]) - metric(rule.metric, labels[rows], theirs[rows])
        )

    yield from differs(rule, better(slice(None)), close)
    yield from _too_narrow(rule, better, evidence["block"].to_numpy())


def _too_narrow(rule: Rule, better: Callable[[Any], float], blocks: "NDArray[Any]") -> Iterator[str]:
    import numpy as np
    from scipy.stats import norm

    draw, rows = np.random.default_rng(1), _rows_of(blocks)
    picks = (draw.integers(0, len(rows), len(rows)) for _ in range(DRAWS))
    spread = float(np.std([better(np.concatenate([rows[i] for i in pick])) for pick in picks]))
    wanted = 2 * float(norm.ppf(0.5 + (rule.confidence or 0) / 2)) * spread
    if rule.low is None or rule.high is None or rule.high - rule.low < NARROW * wanted:
        yield f"the interval of `{rule.name}` is too narrow for {len(blocks):,} rows in {len(rows)} hours"
    elif not rule.low <= float(rule.value or 0) <= rule.high:
        yield f"the interval of `{rule.name}` does not hold its own value"


def _rows_of(blocks: "NDArray[Any]") -> "list[NDArray[np.intp]]":
    import numpy as np

    order = np.argsort(blocks, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(blocks[order])) + 1)


def _roc_auc(labels: "NDArray[Any]", said: "NDArray[Any]") -> float:
    """The share of pairs in which the positive has the higher answer: Mann and Whitney's U."""
    from scipy.stats import rankdata

    positives = labels == 1
    n, m = positives.sum(), (~positives).sum()
    if not n or not m:
        return 0.5
    return float((rankdata(said)[positives].sum() - n * (n + 1) / 2) / (n * m))


def _log_loss(labels: "NDArray[Any]", said: "NDArray[Any]") -> float:
    import numpy as np

    tiny = np.finfo("float64").eps
    clipped = np.clip(said, tiny, 1 - tiny)
    return float(-np.mean(np.log(np.where(labels == 1, clipped, 1 - clipped))))


def _f1(labels: "NDArray[Any]", said: "NDArray[Any]") -> float:
    hits = float(((said >= 0.5) & (labels == 1)).sum())
    return 2 * hits / max(1.0, float((said >= 0.5).sum() + (labels == 1).sum()))


def _average_precision(labels: "NDArray[Any]", said: "NDArray[Any]") -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, said)) if labels.any() else 0.0


def _calibration_error(labels: "NDArray[Any]", said: "NDArray[Any]") -> float:
    import numpy as np

    order = np.argsort(said, kind="stable")
    gaps = [abs((said[part] - labels[part]).sum()) for part in np.array_split(order, 10)]
    return float(sum(gaps) / len(labels))


def _r2(labels: "NDArray[Any]", said: "NDArray[Any]") -> float:
    spread = float(((labels - labels.mean()) ** 2).sum())
    return 1 - float(((labels - said) ** 2).sum()) / spread if spread else 0.0


def _median_ae(labels: "NDArray[Any]", said: "NDArray[Any]") -> float:
    far = sorted(abs(labels - said))
    return float(far[(len(far) - 1) // 2] + far[len(far) // 2]) / 2


_FUNCTIONS: dict[str, Callable[[Any, Any], float]] = {
    "roc_auc": _roc_auc,
    "log_loss": _log_loss,
    "f1": _f1,
    "average_precision": _average_precision,
    "calibration_error": _calibration_error,
    "r2": _r2,
    "brier": lambda labels, said: float(((labels - said) ** 2).mean()),
    "accuracy": lambda labels, said: float(((said >= 0.5) == (labels == 1)).mean()),
    "mae": lambda labels, said: float(abs(labels - said).mean()),
    "rmse": lambda labels, said: float(((labels - said) ** 2).mean() ** 0.5),
    "median_ae": _median_ae,
}
