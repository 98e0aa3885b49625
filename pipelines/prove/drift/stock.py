"""What Evidently's drift preset, as it comes, says of the same rows."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.prove.drift.worlds import Day


def called(reference: Sequence[Day], window: Sequence[Day]) -> set[str]:
    """The columns that the preset says drifted between two runs of days."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    kinds = reference[0].kinds
    numbers, words = ([name for name, k in kinds.items() if k == kind] for kind in ("numeric", "categorical"))
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=words)
    old, new = (Dataset.from_pandas(_frame(days), data_definition=definition) for days in (reference, window))
    return set(_drifted(Report([DataDriftPreset()]).run(new, old).dict()))


def _frame(days: Sequence[Day]) -> Any:
    import pandas as pd

    return pd.concat([pd.DataFrame(dict(each.rows)) for each in days], ignore_index=True)


def _drifted(found: Mapping[str, Any]) -> list[str]:
    """By each column's own test: a p-value below its threshold, or a distance of at least it."""
    drifted = []
    for metric in found["metrics"]:
        asked = metric.get("config", {})
        if "column" not in asked or not isinstance(metric["value"], int | float):
            continue
        method, value, most = asked["method"], float(metric["value"]), float(asked.get("threshold") or 0.05)
        below = "p_value" in method
        if value < most if below else value >= most:
            drifted.append(asked["column"])
    return drifted
