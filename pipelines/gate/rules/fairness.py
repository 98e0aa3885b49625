"""Whether the candidate treats the groups of a column alike, by fairlearn's measures."""

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from pipelines.catalog.gate_spec import Fairness
from pipelines.contracts import Decision, Rule
from pipelines.gate.case import Case
from pipelines.gate.resampling import CONFIDENCE, Estimate, Limit, at_most, estimate, sums, weights
from pipelines.training.many_classes import decided, happened

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

RATES = {
    "demographic_parity_difference": ("selection_rate",),
    "equal_opportunity_difference": ("true_positive_rate",),
    "equalized_odds_difference": ("true_positive_rate", "false_positive_rate"),
    "mean_absolute_error_difference": ("mean_absolute_error",),
}
WORDS = {
    "selection_rate": "share decided positive",
    "true_positive_rate": "share of the positives that is found",
    "false_positive_rate": "share of the negatives that is called positive",
    "mean_absolute_error": "mean absolute error",
}


def check(case: Case) -> list[Rule]:
    """One rule for each measure the spec names; none where it names none."""
    return [_rule(case, asked) for asked in case.spec.gate.fairness]


def title(asked: Fairness) -> str:
    """The name of a measure's rule in every record."""
    return f"fairness of {asked.group}: {asked.measure}"


def table(case: Case, asked: Fairness, side: "Side | None" = None) -> "pd.DataFrame":
    """Per group its rows and rates, as fairlearn's MetricFrame has them, and whether it is judged; of a multiclass on
    one side, by default its first class's."""
    import pandas as pd
    from fairlearn.metrics import MetricFrame

    found: pd.DataFrame = MetricFrame(
        metrics=_metrics(case.spec.task),
        y_true=(side or sides(case)[0]).labels,
        y_pred=(side or sides(case)[0]).decided,
        sensitive_features=pd.Series(_groups(case, asked.group), name=asked.group),
    ).by_group
    found.insert(0, "rows", pd.Series(_groups(case, asked.group)).value_counts())
    judged: pd.DataFrame = found.assign(judged=found["rows"] >= asked.minimum_rows)
    return judged


def _metrics(task: str) -> dict[str, Any]:
    from fairlearn import metrics
    from sklearn.metrics import mean_absolute_error

    if task == "regression":
        return {"mean_absolute_error": mean_absolute_error}
    names = ("selection_rate", "true_positive_rate", "false_positive_rate")
    return {name: getattr(metrics, name) for name in names}


def _rule(case: Case, asked: Fairness) -> Rule:
    if asked.group not in case.held:
        return _cannot(asked, f"the rows have no column {asked.group}; name an entity, a field or a feature")
    groups, found = _groups(case, asked.group), table(case, asked)
    judged = [str(name) for name in found.index[found["judged"]]]
    told = _told(found, asked)
    if len(judged) < 2:
        return _cannot(asked, f"{len(judged)} groups have {asked.minimum_rows} rows, two are needed{told}")
    rows = _among(groups, judged)
    lacking = [each for side in sides(case) for each in _lacking(side, asked, groups, judged)]
    if lacking:
        return _cannot(asked, f"{', '.join(lacking)}: a rate of nothing; hold out more rows{told}")
    best = _difference(case, asked, groups, rows)
    worst = max(sides(case), key=lambda side: _measured(side, asked, groups, rows))
    named = f"; {worst.name} against the rest is the worst of {len(sides(case))}" if worst.name else ""
    extremes = _extremes(table(case, asked, worst) if worst.name else found, asked)
    why = (
        f"between the {len(judged)} groups of {asked.group} {best.value:.4f} ({CONFIDENCE:.0%} interval "
        f"{best.low:.4f} to {best.high:.4f}), at most {asked.at_most}{named}; {extremes}{told}"
    )
    return at_most(Limit(title(asked), asked.measure, asked.at_most, int(rows.sum())), best, why)


def _cannot(asked: Fairness, why: str) -> Rule:
    return Rule(title(asked), Decision.INCONCLUSIVE, why, bound=asked.at_most, metric=asked.measure)


def _groups(case: Case, column: str) -> "NDArray[Any]":
    """Each row's group, as text; what is missing is a group."""
    values = case.held[column]
    return values.astype("object").where(values.notna(), "missing").astype(str).to_numpy(dtype="object")


def _among(groups: "NDArray[Any]", judged: list[str]) -> "NDArray[Any]":
    import numpy as np

    return np.isin(groups.astype(str), judged)


@dataclass(frozen=True)
class Side:
    """One question that is decided of every row: what was so, and what the candidate decided or, a value, said.

    A multiclass has one per class, that class against the rest; any other has one, without a name.
    """

    name: str
    labels: "NDArray[Any]"
    decided: "NDArray[Any]"


def sides(case: Case) -> list[Side]:
    """Every question that the candidate decides, at the spec's threshold or as the likeliest class."""
    said, labels, classes = case.answers["candidate"], case.labels, case.spec.label.classes
    if case.spec.task == "regression":
        return [Side("", labels, said)]
    if not classes:
        return [Side("", labels, (said >= case.spec.threshold).astype("float64"))]
    of_class = zip(happened(labels, len(classes)).T, happened(decided(said), len(classes)).T, strict=True)
    return [Side(str(name), *pair) for name, pair in zip(classes, of_class, strict=True)]


def _parts(side: Side, rate: str) -> tuple["NDArray[Any]", "NDArray[Any]"]:
    """A rate is the sum of the first over the sum of the second."""
    import numpy as np

    labels, decided = side.labels, side.decided
    if rate == "true_positive_rate":
        return decided * labels, labels
    if rate == "false_positive_rate":
        return decided * (1 - labels), 1 - labels
    return (abs(labels - decided) if rate == "mean_absolute_error" else decided), np.ones_like(labels)


def _lacking(side: Side, asked: Fairness, groups: "NDArray[Any]", judged: list[str]) -> list[str]:
    """The judged groups in which a rate has no row to be a rate of."""
    return [
        f"{group} has no row for the {rate}{f' of {side.name}' if side.name else ''}"
        for rate in RATES[asked.measure]
        for group in judged
        if not _parts(side, rate)[1][groups == group].any()
    ]


def _difference(case: Case, asked: Fairness, groups: "NDArray[Any]", rows: "NDArray[Any]") -> Estimate:
    """fairlearn's measure, and its interval from blocks drawn again.

    fairlearn's own bootstrap draws single rows, as if flights of one hour were strangers.
    """
    import numpy as np

    names, among = np.unique(groups[rows].astype(str), return_inverse=True)
    codes = np.unique(case.blocks[rows], return_inverse=True)[1]
    drawn, gaps = weights(int(codes.max()) + 1), []
    for side, rate in product(sides(case), RATES[asked.measure]):
        above, below = (drawn @ sums(codes, p[rows], among, len(names)) for p in _parts(side, rate))
        rates = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
        gaps.append(np.nanmax(rates, axis=1) - np.nanmin(rates, axis=1))
    value = max(_measured(side, asked, groups, rows) for side in sides(case))
    return estimate(value, np.max(gaps, axis=0))


def _measured(side: Side, asked: Fairness, groups: "NDArray[Any]", rows: "NDArray[Any]") -> float:
    from fairlearn import metrics

    labels, decided, among = side.labels[rows], side.decided[rows], groups[rows]
    if "regression" in asked.tasks:
        frame = metrics.MetricFrame(
            metrics=_metrics("regression"), y_true=labels, y_pred=decided, sensitive_features=among
        )
        return float(frame.difference()["mean_absolute_error"])
    return float(getattr(metrics, asked.measure)(labels, decided, sensitive_features=among))


def _extremes(found: "pd.DataFrame", asked: Fairness) -> str:
    """Between which groups the rates lie furthest apart."""
    judged = found[found["judged"]]
    return "; ".join(
        f"{WORDS[rate]} from {judged[rate].min():.3f} ({judged[rate].idxmin()}) "
        f"to {judged[rate].max():.3f} ({judged[rate].idxmax()})"
        for rate in RATES[asked.measure]
    )


def _told(found: "pd.DataFrame", asked: Fairness) -> str:
    small = [f"{name} ({int(rows)} rows)" for name, rows in found["rows"][~found["judged"]].items()]
    return f"; too small to judge: {', '.join(small)}" if small else ""
