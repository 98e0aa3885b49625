"""Evidently's report of two samples: what moved by our verdict, its summary, how the champion answers, and tests."""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.monitoring.drift.column import INPUT
from pipelines.monitoring.drift.reference import LABEL
from pipelines.monitoring.evidently.conditions import conditions
from pipelines.monitoring.evidently.quality import quality
from pipelines.monitoring.moved import Moved
from pipelines.monitoring.watched import Watched

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOKED_AT = 8
"""Columns whose values are summed up, the surest to have moved first; of 55 columns all took 13 to 19 s."""


def snapshot(
    spec: ModelSpec,
    seen: Watched,
    drift: Moved,
    said: "tuple[NDArray[Any], NDArray[Any]] | None",
    as_of: datetime,
    version: int,
) -> Any:
    """Evidently's run of all it can be asked about both samples, with what the champion `said` of old and new rows."""
    seen = _finite(seen)
    more = quality(spec, seen, said)
    parts = [*_summary(seen, drift), *more.parts, *conditions(spec, seen)]
    return _run(spec, seen, drift, parts, as_of, version, more.columns, more.roles)


def bare(spec: ModelSpec, seen: Watched, drift: Moved, as_of: datetime, version: int) -> Any:
    """The same with nothing beside what moved, for samples that the rest cannot be asked about."""
    return _run(spec, _finite(seen), drift, [], as_of, version, ({}, {}), {})


def _finite(seen: Watched) -> Watched:
    """The columns that have values on both sides once endless numbers, which it cannot draw, are missing."""
    import numpy as np

    old, new = (side.replace([np.inf, -np.inf], np.nan) for side in (seen.old, seen.new))
    kinds = {c: kind for c, kind in seen.kinds.items() if old[c].notna().any() and new[c].notna().any()}
    return replace(seen, old=old, new=new, kinds=kinds)


def _run(
    spec: ModelSpec,
    seen: Watched,
    drift: Moved,
    parts: list[Any],
    as_of: datetime,
    version: int,
    columns: tuple[dict[str, Any], dict[str, Any]],
    roles: dict[str, Any],
) -> Any:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    name = _judged(drift)
    numbers, words = ([c for c, k in seen.kinds.items() if k == kind] for kind in ("numeric", "categorical"))
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=words, **roles)
    preset = DataDriftPreset(drift_share=spec.monitor.drift_share, num_method=name, cat_method=name)
    old, new = (
        Dataset.from_pandas(rows[list(seen.kinds)].assign(**added), data_definition=definition)
        for rows, added in zip((seen.old, seen.new), columns, strict=True)
    )
    report = Report([preset, *parts], include_tests=True)
    told = {"version": str(version), "drifted": str(drift.share >= spec.monitor.drift_share).lower()}
    return report.run(new, old, timestamp=as_of, metadata=told, name=f"{as_of:%Y-%m-%d %H:%M}")


def _judged(drift: Moved) -> str:
    """Make our test of all rows known to Evidently, which shows its p-values and goes by it; its name there."""
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    said = {each.column: (each.pvalue, each.moved) for each in drift.findings if each.family == INPUT}
    kinds = [ColumnType.Numerical, ColumnType.Categorical]
    test = StatTest("calibrated", "p-value calibrated by past weeks, of all rows", kinds, 0.0)
    register_stattest(test, lambda reference, *_: said.get(str(reference.name), (1.0, False)))
    return str(test.name)


def _summary(seen: Watched, drift: Moved) -> list[Any]:
    """Evidently's summary of the samples, and of the columns that are surest to have moved."""
    from evidently.presets import DatasetStats, ValueStats

    surest = [each.column for each in drift.findings if each.family == INPUT and each.column in seen.kinds]
    names = [c for c in dict.fromkeys([*surest, *seen.kinds]) if c != LABEL][:LOOKED_AT]
    none: dict[str, Any] = {f"{each}_tests": [] for each in UNTESTED} | {"unique_values_count_tests": {}}
    return [DatasetStats(include_tests=False), *(ValueStats(c, **none) for c in names)]


UNTESTED = ("row_count", "missing_values_count", "min", "max", "mean", "std", "q25", "q50", "q75")
"""Evidently's own conditions, a tenth more or less than at training, are none that we go by."""
