"""What the gate judges: one candidate on its held-out rows, beside those it is held against."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, Kind, Rule, TrainingSet
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import Version
from pipelines.training import many_classes
from pipelines.training.answers import answers
from pipelines.training.metrics import defined
from pipelines.training.training_set import as_served

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

HOUR = 3_600_000_000
Answers = dict[str, "NDArray[Any]"]
Check = Callable[["Case"], list[Rule]]
"""A group of rules: all of them, whatever it finds; a rule that cannot be tried says INCONCLUSIVE and why."""


@dataclass
class Case:
    """One judgement. `held` are the held-out rows as the candidate is asked them, `now` the wall clock.

    `answers` holds for candidate, baseline, champion and anchor one number per row of `held`: the probability of the
    positive class, or a regression's value; of a multiclass a row of probabilities, one per class. Who could not answer
    is absent, and `absent` says why.
    """

    spec: ModelSpec
    version: Version
    champion: Version | None
    anchor: Version | None
    held: "pd.DataFrame"
    training_set: TrainingSet
    stores: Stores
    now: datetime
    answers: Answers = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    probe: Any = None
    """The candidate being asked where it will serve, if that was begun before the rules were tried."""

    @cached_property
    def model(self) -> Any:
        """The fitted candidate."""
        return self.stores.tracking.load(self.spec.name, self.version.version)

    def said(self, rows: "pd.DataFrame") -> "NDArray[Any]":
        """The candidate's answers to any rows."""
        return answers(self.model, rows, self.spec.outputs)

    @cached_property
    def labels(self) -> "NDArray[Any]":
        return self.held["label"].to_numpy(dtype="float64")

    @property
    def sound(self) -> bool:
        """Whether the candidate answered every row with a number, and the labels can judge that."""
        import numpy as np

        said = self.answers.get("candidate")
        if said is None or not np.isfinite(said).all() or not defined(self.spec.task, self.labels):
            return False
        if self.spec.task == "multiclass":
            return many_classes.are_probabilities(said, self.spec.outputs)
        return self.spec.task == "regression" or bool(((said >= 0) & (said <= 1)).all())

    @cached_property
    def blocks(self) -> "NDArray[Any]":
        """The hour in which each question was asked: rows of one hour share what moves them."""
        return self.held["event_timestamp"].astype("datetime64[us, UTC]").astype("int64").to_numpy() // HOUR


def asked(case: Case) -> None:
    """Ask everybody; whoever cannot answer is absent, with the reason."""
    tracking = case.stores.tracking
    _ask(case, "candidate", lambda: case.said(case.held))
    _ask(
        case, "baseline", lambda: answers(tracking.load_baseline(case.version), case.held, case.spec.outputs)
    )
    for who, version in (("champion", case.champion), ("anchor", case.anchor)):
        if version is None or version.digest == case.version.digest:
            continue
        if who == "anchor" and version == case.champion and "champion" in case.answers:
            case.answers[who] = case.answers["champion"]  # one version, asked once
        else:
            _ask(case, who, lambda version=version: _other(case, version))  # type: ignore[misc]


def fact(name: str, holds: bool, fine: str, broken: str, otherwise: Decision = Decision.FAIL) -> Rule:
    """A rule that holds or does not."""
    return Rule(name, Decision.PASS if holds else otherwise, fine if holds else broken, kind=Kind.FACT)


def _ask(case: Case, who: str, ask: Callable[[], "NDArray[Any]"]) -> None:
    try:
        case.answers[who] = ask()
    except EvergreenError as error:
        case.absent[who] = str(error)
    except Exception as error:
        if who != "candidate":
            raise
        case.absent[who] = f"{type(error).__name__}: {error}"


def _other(case: Case, version: Version) -> "NDArray[Any]":
    """Another version on the same rows, with the features it is served with."""
    rows = case.held
    if version.views != case.version.views:
        plain = rows[[str(name) for name in rows if "__" not in str(name)]]
        rows = as_served(case.spec, plain, version, case.stores)
    return answers(case.stores.tracking.load(case.spec.name, version.version), rows, case.spec.outputs)


def with_columns(rows: "pd.DataFrame", values: dict[str, Any]) -> "pd.DataFrame":
    """A copy of the rows with other values in some columns, whatever their names: `assign` takes none named self."""
    changed = rows.copy()
    for name, value in values.items():
        changed[name] = value
    return changed
