"""Two-sample tests of drift: significant after correction, and large enough to matter.

Evidently's stock chi-square takes the reference as exact and alarmed falsely in 44-95% of cases without drift.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05
EFFECT = 0.2  # smaller differences wake nobody, however many rows show them
RARE = 0.01


def numeric(reference: "pd.Series[Any]", current: "pd.Series[Any]") -> tuple[float, float]:
    """p-value and effect (the largest distance of the distribution functions) of two samples of numbers."""
    from scipy.stats import ks_2samp

    found = ks_2samp(reference.dropna(), current.dropna())
    return float(found.pvalue), float(found.statistic)


def categorical(reference: "pd.Series[Any]", current: "pd.Series[Any]") -> tuple[float, float]:
    """p-value and effect (Cramer's V) of two samples of categories, rare levels pooled."""
    import numpy as np
    import pandas as pd
    from scipy.stats import chi2_contingency

    both = pd.concat([reference, current]).astype("string").fillna("missing")
    rare = both.value_counts(normalize=True)
    pooled = both.where(~both.isin(rare[rare < RARE].index), "others")
    sample = np.repeat(["reference", "current"], [len(reference), len(current)])
    counts = pd.crosstab(pooled.to_numpy(), sample)
    if len(counts) < 2:
        return 1.0, 0.0
    chi2, pvalue, _, _ = chi2_contingency(counts)
    return float(pvalue), float(np.sqrt(chi2 / counts.to_numpy().sum()))


def level(columns: int) -> float:
    """Below which a p-value is no accident, when so many columns are asked."""
    return ALPHA / max(1, columns)


def register() -> dict[str, Any]:
    """Make both tests known to Evidently; its name for each kind of column."""
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    kinds = {"numeric": (numeric, ColumnType.Numerical), "categorical": (categorical, ColumnType.Categorical)}
    names = {}
    for kind, (test, column) in kinds.items():
        known = StatTest(f"two_sample_{kind}", f"two-sample {kind} p-value", [column], 0.05)
        register_stattest(known, _judge(test))
        names[kind] = known.name
    return names


def _judge(test: Any) -> Any:
    def judged(reference: Any, current: Any, kind: Any, threshold: float) -> tuple[float, bool]:
        pvalue, effect = test(reference, current)
        return pvalue, pvalue <= threshold and effect >= EFFECT

    return judged
