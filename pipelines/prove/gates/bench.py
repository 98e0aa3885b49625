"""A deployment with real rows, a champion, and a workbench on which candidates are planted and judged."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from pipelines.catalog import ModelSpec
from pipelines.contracts import Candidate, EvergreenError, Promotion, Rule, Say, TrainingSet, Verdict
from pipelines.features import compute
from pipelines.gate import evaluate
from pipelines.promotion.promote import promote
from pipelines.prove.worlds import Upstream, World, sandbox
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import file_digest
from pipelines.training import rebuild, train, training_set

if TYPE_CHECKING:
    import pandas as pd

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
WEEK, LEARNED = timedelta(days=7), timedelta(days=36)
HONEST = train.estimator
WEAK = {"max_iter": 20, "n_estimators": 10, "max_depth": 2, "C": 1e-3, "alpha": 1e3, "n_neighbors": 5}
WEAK_OF_CLASSES = {"C": 1e-2}
"""Held back more, so many weights say the same of every class, which is no honest first champion."""
Fit = Callable[[ModelSpec, "pd.DataFrame", "pd.Series[Any]"], Any]
"""Fits a pipeline to inputs and labels, as an honest or a dishonest person would."""


@dataclass
class Bench:
    """`rows` is the training set all are judged on; `served` is what serving holds."""

    spec: ModelSpec
    world: World
    as_of: datetime
    rows: TrainingSet
    served: int = 0

    @property
    def stores(self) -> Stores:
        return self.world.stores

    @property
    def earlier(self) -> TrainingSet:
        """The training set of a week before: of what was known then, though more has landed since."""
        return training_set.build(self.spec, self.as_of - WEEK, self.stores)

    def later(self, say: Say) -> None:
        """Another week lands."""
        self.as_of += WEEK
        self.rows = _joined(self.spec, self.world, self.as_of, say)

    @property
    def champion(self) -> int | None:
        found = self.stores.tracking.champion(self.spec.name)
        return found.version if found else None

    def plant(
        self, fit: Fit | None = None, rows: TrainingSet | None = None, spec: ModelSpec | None = None
    ) -> Candidate:
        """Registers what `fit` makes, the honest estimator if none is given, as a training would."""
        with ExitStack() as stack:
            stack.enter_context(patch.object(train, "_existing", lambda *_: None))
            if fit is not None:
                stack.enter_context(patch.object(train, "estimator", lambda spec: Planted(spec, fit)))
            return train.train(spec or self.spec, rows or self.rows, self.stores)

    def judge(
        self, made: Candidate, rows: TrainingSet | None = None, spec: ModelSpec | None = None
    ) -> Verdict:
        self._keep_rebuild(spec or self.spec, made.version)
        return evaluate(spec or self.spec, made, rows or self.rows, self.stores, NOW)

    def _keep_rebuild(self, spec: ModelSpec, version: int) -> None:
        """As the loop does before it asks the gate: what the record says is made again, by nobody's hand."""
        found = self.stores.tracking.version(spec.name, version)
        with suppress(EvergreenError):
            rebuild.keep(rebuild.recorded(spec, found, self.stores), spec, self.stores)

    def promote(self, version: int) -> Promotion:
        """Try to make it champion; a refusal in words is no failure of the proof."""
        try:
            return promote(self.spec, version, self.stores, NOW)
        except EvergreenError as error:
            return Promotion(self.spec.name, False, self.champion, None, str(error))

    def altered(self, name: str, change: Callable[["pd.DataFrame"], "pd.DataFrame"]) -> TrainingSet:
        """The training set with its rows changed, under a digest of its own, as a hand in the stores would leave it."""
        import pandas as pd

        data = change(pd.read_parquet(self.rows.path))
        digest = f"{name.encode().hex():0<64}"[:64]
        path = training_set.path_of(self.spec.name, digest, self.stores)
        data.to_parquet(path, index=False)
        learned = data[data["split"] == "train"]
        return replace(
            self.rows, digest=digest, path=str(path), content=file_digest(path), rows=len(learned),
            positives=int(learned["label"].sum()), holdout_rows=len(data) - len(learned),
        )  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """Stands where the estimator does while a candidate is planted."""

    spec: ModelSpec
    how: Fit

    def fit(self, inputs: "pd.DataFrame", labels: "pd.Series[Any]") -> Any:
        return self.how(self.spec, inputs, labels)


def built(spec: ModelSpec, home: Path, days: int | None, seed: int, say: Say) -> Bench:
    """Real rows land, features are computed, and a training set is joined.

    Without `days`, as many as give five weeks to learn from, and the rows that the spec asks for. At least two weeks
    are held out: one week of real weather may not tell even a good model from a poor one.
    """
    held = max(spec.training.holdout, 2 * WEEK)
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"holdout": held})})
    world = World(Upstream(spec), sandbox(home))
    lived = (
        timedelta(days=days) if days else _learned(spec, world.source) + held + _lateness(spec, world.source)
    )
    as_of = world.source.begin + timedelta(days=seed % 28) + lived
    return Bench(spec, world, as_of, _joined(spec, world, as_of, say))


def _learned(spec: ModelSpec, source: Upstream) -> timedelta:
    """How many whole days have so many questions as a training needs at least."""
    its = f"select event_timestamp from ({spec.label_sql}) where event_timestamp >= $begin"
    query = f"{its} order by 1 offset $rows limit 1"
    asked = {"begin": source.begin, "rows": spec.training.minimum_rows} | training_set.given(spec)
    found = source.connection.execute(query, asked).fetchone()
    needed = found[0].astimezone(UTC) - source.begin if found else timedelta(0)
    return max(LEARNED, timedelta(days=needed.days + 1))


def _lateness(spec: ModelSpec, source: Upstream) -> timedelta:
    """How many whole days truth usually takes: so long before the hold-out begins, nothing is learned from."""
    query = f"select median(epoch(label_known_at) - epoch(event_timestamp)) from ({spec.label_sql})"
    (seconds,) = source.connection.execute(query, training_set.given(spec)).fetchone() or (0,)
    return timedelta(days=int(seconds) // 86_400)


def _joined(spec: ModelSpec, world: World, as_of: datetime, say: Say) -> TrainingSet:
    world.live(as_of)
    compute.compute(as_of, world.stores)
    rows = training_set.build(spec, as_of, world.stores)
    say(f"rows up to {as_of:%Y-%m-%d} landed: {rows.rows:,} to learn from, {rows.holdout_rows:,} held out")
    return rows


def estimator(spec: ModelSpec, **changed: Any) -> Any:
    """The model's own estimator; parameters it does not have are left alone."""
    return HONEST(with_parameters(spec, **changed))


def with_parameters(spec: ModelSpec, **changed: Any) -> ModelSpec:
    known = {name: value for name, value in changed.items() if name in spec.parameters}
    return spec.model_copy(update={"parameters": {**spec.parameters, **known}})


def weakened(spec: ModelSpec) -> ModelSpec:
    """The model, made as honestly, but from parameters with which it learns little."""
    found = with_parameters(spec, **WEAK | (WEAK_OF_CLASSES if spec.outputs > 1 else {}))
    if found.parameters == spec.parameters:
        raise EvergreenError(
            f"{spec.name} cannot be made to learn less: name one of {', '.join(WEAK)} under parameters in spec.yaml"
        )
    return found


def named(rules: tuple[Rule, ...], start: str) -> Rule | None:
    """The rule that the case is for: the first whose name holds these words and that did not pass, else any."""
    found = [rule for rule in rules if start in rule.name]
    return next((rule for rule in found if rule.decision != "PASS"), found[0] if found else None)
