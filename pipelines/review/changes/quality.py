"""What a change may be worth: both sides trained on one home's data as of one moment, and scored on the same rows.

Each side is made in a process of its own, in a copy of this project with that side's models, datasets, views and suites
and in a copy of the home, so that neither runs here and nothing is registered, promoted or computed in the home.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError, Say
from pipelines.review.changes import borrowed, rules
from pipelines.review.changes.sides import DATASETS, MODELS, SUITES, VIEWS, Side, alike
from pipelines.stores import Stores

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

HOUR = 3_600_000_000
"""Microseconds; the gate's blocks."""
LEARNED = {"features", "label", "estimator", "training rows", "data"}
"""The parts of a spec that a model is made from; the others leave it as it was."""
AGREED = (
    "An expectation on this home's data; the gate judges the version that is trained once this is merged."
)


@dataclass(frozen=True)
class Expected:
    """What is expected of one model, or why nothing can be; figures only where both sides were measured."""

    model: str
    said: str
    measured: bool = False
    metric: str | None = None
    before: float | None = None
    after: float | None = None
    improvement: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    rows: int | None = None
    as_of: str | None = None

    def __str__(self) -> str:
        return f"- **{self.model}**: {self.said}"


def expected(model: str, before: Side, after: Side, stores: Stores, say: Say = lambda _: None) -> Expected:
    """Train and score both sides of one model; what keeps that from being done is said, not raised."""
    try:
        old, new = _specs(model, before, after)
        as_of = _moment(new, stores)
        with TemporaryDirectory(prefix="evergreen-quality-") as folder:
            made: list[borrowed.Answers] = []
            for side in (before, after):
                say(f"{model}: training as {side.name} has it, as of {as_of:%Y-%m-%d %H:%M}")
                place = Path(folder) / str(len(made))
                made.append(
                    borrowed.answered(model, side, as_of, new.training.holdout, stores.settings, place)
                )
        found = _compared(old, new, made[0], made[1], as_of)
        return replace(found, said=f"{found.said}{_landed(before, after)}")
    except EvergreenError as error:
        return Expected(model, f"not measured: {error}")


def _landed(before: Side, after: Side) -> str:
    """What no figure here can show."""
    paths = [
        path for path in {*before.files, *after.files} if path.startswith((f"{DATASETS}/", f"{SUITES}/"))
    ]
    if all(before.files.get(path) == after.files.get(path) for path in paths):
        return ""
    return " What has landed was read by the rules of its time: changed datasets and suites show in files to come."


def _specs(model: str, before: Side, after: Side) -> tuple[ModelSpec, ModelSpec]:
    """Both specs; EvergreenError where there are not two, or nothing that is learned differs."""
    old, new = before.models.get(model), after.models.get(model)
    if old is None or new is None:
        raise EvergreenError(f"it is on one side only; `evergreen try {model}` trains a new one on a sample")
    for side, written in ((before, old), (after, new)):
        if written.typed is None:
            raise EvergreenError(f"{side.name}: {written.fault}")
    assert old.typed is not None and new.typed is not None  # noqa: S101, PT018 - said above
    if old.typed.task != new.typed.task:
        raise EvergreenError(f"{old.typed.task} and {new.typed.task} have no metric in common")
    if _same(model, before, after):
        raise EvergreenError("nothing that the model is learned from differs")
    return old.typed, new.typed


def _same(model: str, before: Side, after: Side) -> bool:
    """Whether only what judges, watches or documents the model differs."""
    spec = rules.changes(*alike(before.models[model], after.models[model]))
    if any(change.part in LEARNED for change in spec):
        return False
    kinds, places = (".py", ".sql", ".yaml"), (f"{MODELS}/{model}/", f"{DATASETS}/", f"{VIEWS}/")
    mine = f"{MODELS}/{model}/spec.yaml"
    both = [
        {
            p: text
            for p, text in side.files.items()
            if p.startswith(places) and p.endswith(kinds) and p != mine
        }
        for side in (before, after)
    ]
    return both[0] == both[1]


def _moment(spec: ModelSpec, stores: Stores) -> datetime:
    """Up to when the home's data is known and its features are computed, where they are."""
    from pipelines.features.watermark import watermark

    needed = [catalog.dataset(name) for name in dict.fromkeys((*spec.datasets, spec.label.dataset))]
    end = watermark(stores, needed, spec.training.patience)
    versions = [v for v in stores.features.registered.versions() if v.view in spec.features_by_view]
    reached = [at for version in versions if (at := stores.progress.reached(version.consumer))]
    return min([end, *reached])


def _compared(
    old: ModelSpec, new: ModelSpec, before: borrowed.Answers, after: borrowed.Answers, as_of: datetime
) -> Expected:
    """The gate's own comparison on the rows that both sides ask, if they mean the same by them."""
    rows, alone = _matched(before.rows, after.rows)
    if rows.empty:
        raise EvergreenError("no held-out row is asked by both sides")
    differ = int((rows["label_x"] != rows["label_y"]).sum())
    if differ:
        raise EvergreenError(
            f"{differ:,} of {len(rows):,} held-out rows have another label, so two figures would answer two questions"
        )
    return _figures(new, rows, alone, as_of)


def _matched(before: "pd.DataFrame", after: "pd.DataFrame") -> "tuple[pd.DataFrame, int]":
    """Rows of both sides side by side, by what both know of a question; and how many stand alone."""
    made = {"label", "said", "baseline", "label_known_at", "twin"}
    common = [name for name in before if name in after and name not in made]
    sides = [rows.assign(twin=rows.groupby(common, dropna=False).cumcount()) for rows in (before, after)]
    kept = [side[[*common, "twin", "label", "said", "baseline"]] for side in sides]
    rows = kept[0].merge(kept[1], on=[*common, "twin"])
    return rows.sort_values("event_timestamp").reset_index(drop=True), len(before) + len(after) - 2 * len(
        rows
    )


def _figures(spec: ModelSpec, rows: "pd.DataFrame", alone: int, as_of: datetime) -> Expected:
    from pipelines.gate.intervals import paired_improvement
    from pipelines.training.metrics import defined, measure

    rule = spec.gate.champion
    labels, theirs, ours, plain = (
        rows[n].to_numpy("float64") for n in ("label_y", "said_x", "said_y", "baseline_y")
    )
    if not defined(spec.task, labels):
        raise EvergreenError(f"all {len(rows):,} held-out rows have one class")
    found = paired_improvement(rule.metric, labels, ours, theirs, _blocks(rows), rule.level)
    old, new, base = (measure(rule.metric, labels, said) for said in (theirs, ours, plain))
    others = _others(spec, labels, theirs, ours)
    verdict = _verdict(found.low, found.high, bool((ours == theirs).all()))
    said = (
        f"{rule.metric} {old:.4f} -> {new:.4f} (baseline {base:.4f}) on {len(rows):,} held-out rows as of "
        f"{as_of:%Y-%m-%d %H:%M} UTC; improvement {found.mean:+.4f}, {rule.level:.1%} interval {found.low:+.4f} to "
        f"{found.high:+.4f}: {verdict}.{others}{_left(alone)} {AGREED}"
    )
    return Expected(
        spec.name, said, True, rule.metric, old, new, found.mean, found.low, found.high, rule.level, len(rows),
        as_of.isoformat(),
    )  # fmt: skip


def _blocks(rows: "pd.DataFrame") -> "NDArray[Any]":
    times: NDArray[Any] = rows["event_timestamp"].astype("datetime64[us, UTC]").astype("int64").to_numpy()
    return times // HOUR


def _verdict(low: float, high: float, same: bool) -> str:
    if same:
        return "no answer moves"
    if low > 0:
        return "better"
    return "WORSE" if high < 0 else "no difference is shown"


def _others(spec: ModelSpec, labels: "NDArray[Any]", theirs: "NDArray[Any]", ours: "NDArray[Any]") -> str:
    """The gate's other metrics, without intervals."""
    from pipelines.training.metrics import measure

    named = dict.fromkeys(
        [*spec.gate.floors, *spec.gate.ceilings, *(guard.metric for guard in spec.gate.guards)]
    )
    shown = [
        f"{name} {measure(name, labels, theirs):.4f} -> {measure(name, labels, ours):.4f}"
        for name in named
        if name != spec.gate.champion.metric
    ]
    return f" Also {', '.join(shown)}." if shown else ""


def _left(alone: int) -> str:
    return f" {alone:,} rows that one side alone asks are left out." if alone else ""
