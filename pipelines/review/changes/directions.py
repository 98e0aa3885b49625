"""Which way each rule of a spec or a suite is looser: the one table of it, a line per field."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from pipelines.catalog.gate_spec import METRICS
from pipelines.review.changes.change import ABSENT, Leaf, Weight

Direction = Callable[[Any, Any], Weight]


def _judged(looser: Callable[[Any, Any], bool | None]) -> Direction:
    """By what is looser than what; a rule that is gone is looser than any."""

    def judge(before: Any, after: Any) -> Weight:
        if before is ABSENT or after is ABSENT:
            return Weight.LOOSENED if after is ABSENT else Weight.TIGHTENED
        try:
            said = looser(before, after)
        except TypeError:  # a number became a word, or a reference to a parameter
            said = None
        return Weight.CHANGED if said is None else Weight.LOOSENED if said else Weight.TIGHTENED

    return judge


def _opposite(direction: Direction) -> Direction:
    """For a way round the rule: what appears there loosens it."""
    return lambda before, after: direction(after, before)


ORDER = {"better": 1, "not_worse": 0, "critical": 2, "warning": 1, "info": 0, "refuse": 1, "cut": 0}
EXPECTED = {
    ("up", "not_down"): True,
    ("down", "not_up"): True,
    ("not_down", "up"): False,
    ("not_up", "down"): False,
}

UP, DOWN = _judged(lambda before, after: after > before), _judged(lambda before, after: after < before)
ON = _judged(lambda before, after: bool(after) and not before)
OFF = _judged(lambda before, after: bool(before) and not after)
WEAKER = _judged(lambda before, after: ORDER[after] < ORDER[before] if {before, after} <= {*ORDER} else None)
EXPECT = _judged(lambda before, after: EXPECTED.get((before, after)))
EXCEPTION, LEEWAY = _opposite(UP), _opposite(DOWN)
"""What is absent allows nothing: the sooner an exception holds, or the greater the leeway, the looser."""
OTHER = _judged(lambda before, after: None)
"""It asks something else than before; gone it asks nothing."""


def another(before: Any, after: Any) -> Weight:
    """There is no more or less of it, only another one."""
    return Weight.CHANGED


def no_rule(before: Any, after: Any) -> Weight:
    """It is told, and loosens nothing."""
    return Weight.PLAIN


COMPARISON: dict[str, Direction] = {
    "metric": OTHER,
    "rule": WEAKER,
    "margin": LEEWAY,
    "confidence": DOWN,
    "stale_after": EXCEPTION,
}
MODEL: tuple[tuple[str, Direction], ...] = (
    ("gate.metrics*", no_rule),
    ("gate.ceilings.*", UP),
    ("gate.suspicious.*", UP),
    ("gate.minimum_rows", DOWN),
    ("gate.minimum_blocks", DOWN),
    *(
        (f"gate.{who}.{field}", way)
        for who in ("baseline", "champion", "guards.*", "anchor")
        for field, way in COMPARISON.items()
    ),
    *((f"gate.{who}", OTHER) for who in ("baseline", "champion", "guards.*", "anchor")),
    ("gate.slices.columns*", OTHER),
    ("gate.slices.metric", OTHER),
    ("gate.slices.margin", UP),
    ("gate.slices.confidence", OTHER),  # a wider interval fails fewer slices, and clears fewer
    ("gate.slices.minimum_rows", UP),
    ("gate.slices.floors.*", DOWN),
    ("gate.slices.ceilings.*", UP),
    ("gate.slices.search", OFF),
    ("gate.slices", OTHER),
    ("gate.calibration.bins", DOWN),  # fewer bins average more out
    ("gate.calibration.error", UP),
    ("gate.calibration.mean", UP),
    ("gate.calibration", OTHER),
    ("gate.each_class.recall", DOWN),
    ("gate.each_class.minimum_rows", DOWN),  # fewer cannot tell, which passes nothing
    ("gate.fairness.*.at_most", UP),
    ("gate.fairness.*.minimum_rows", UP),
    ("gate.fairness.*.group", OTHER),
    ("gate.fairness.*.measure", OTHER),
    ("gate.fairness.*", OTHER),
    ("gate.behaviour.invariances.*.within", UP),
    ("gate.behaviour.invariances.*.*", OTHER),
    ("gate.behaviour.directions.*.share", DOWN),
    ("gate.behaviour.directions.*.expect", EXPECT),
    ("gate.behaviour.directions.*.*", OTHER),
    ("gate.behaviour.minimums.*.at_least", DOWN),
    ("gate.behaviour.minimums.*.at_most", UP),
    ("gate.behaviour.minimums.*.*", OTHER),
    ("gate.behaviour.rows", DOWN),
    ("gate.behaviour.*.*", OTHER),
    ("gate.behaviour", OTHER),
    ("gate.serving.questions", DOWN),
    ("gate.serving.*", UP),
    ("gate.serving", OTHER),
    ("gate.rebuild", OFF),
    ("promotion.approval", OFF),
    ("promotion.approval_timeout", UP),
    ("promotion.verdict_valid", UP),
    ("promotion.keep", no_rule),
    ("degraded.missing", UP),
    ("degraded.required*", OTHER),
    ("monitor.schedule", no_rule),
    ("monitor.window", no_rule),
    ("monitor.drift_share", UP),
    ("monitor.false_alarms", DOWN),
    ("monitor.difference", UP),
    ("monitor.seasons*", OTHER),
    ("monitor.decay.metric", OTHER),
    ("monitor.decay.confidence", UP),  # it must be surer before it says so
    ("monitor.decay.*", UP),
    ("monitor.decay", OTHER),
    ("resources*", no_rule),
)
"""Of a model's gate, promotion, answers, monitors and pods; first match. Everything else in a spec.yaml is no rule."""

DATASET: tuple[tuple[str, Direction], ...] = (
    ("columns.*.nullable", ON),
    ("columns.*.deprecated", EXCEPTION),
    ("columns.*.nanoseconds", WEAKER),
    ("max_bad_share", UP),
    ("max_bytes", UP),
    ("null_values.*", EXCEPTION),
    ("any_case", ON),
    ("trim", ON),
    ("manifest", OFF),
    ("subject", another),
    ("retention", UP),
    ("key.*", another),
    ("event_time", another),
    ("available_at", another),
    ("pattern", another),
    ("reference", another),
    ("columns.*.type", another),
    ("columns.*.timezone", another),
)
EXPECTATION: tuple[tuple[str, Direction], ...] = (
    ("severity", WEAKER),
    ("kwargs.min_value", DOWN),
    ("kwargs.max_value", UP),
    ("kwargs.strict_*", OFF),
    ("kwargs.mostly", DOWN),
    ("kwargs.or_equal", ON),
    ("kwargs.*", OTHER),
)
"""Great Expectations' own fields, whichever expectation has them."""


def weight(leaf: Leaf, table: tuple[tuple[str, Direction], ...]) -> Weight:
    """What a change of one place means by a table; PLAIN where the table has no word of it."""
    path = ".".join(leaf.path)
    if path.startswith("gate.floors"):
        return _floor(leaf)
    for pattern, direction in table:
        if fnmatchcase(path, pattern):
            return direction(leaf.before, leaf.after)
    return Weight.PLAIN


def _floor(leaf: Leaf) -> Weight:
    """At least so much; for a loss, of which less is better, at most."""
    more_is_better = METRICS.get(leaf.path[-1], ("", True))[1]
    return (DOWN if more_is_better else UP)(leaf.before, leaf.after)
