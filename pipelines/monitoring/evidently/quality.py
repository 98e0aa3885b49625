"""How the champion answers the rows of both samples, as Evidently shows the quality of each kind of model."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.monitoring.drift.reference import LABEL
from pipelines.monitoring.watched import Watched

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRUTH, ANSWER = "truth of the label", "answer of the champion"


@dataclass
class Quality:
    """What Evidently is asked beside the inputs: its `parts`, `columns` of both samples, and their `roles`."""

    parts: list[Any] = field(default_factory=list)
    columns: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    roles: dict[str, Any] = field(default_factory=dict)


def quality(spec: ModelSpec, seen: Watched, said: "tuple[NDArray[Any], NDArray[Any]] | None") -> Quality:
    """Its metrics for the model's task; nothing where an answer, a label or one of the classes is missing."""
    if said is None or not {LABEL} <= {*seen.old, *seen.new}:
        return Quality()
    truths = [_numbers(side[LABEL]) for side in (seen.old, seen.new)]
    if any(_lacks(spec, truth, answer) for truth, answer in zip(truths, said, strict=True)):
        return Quality()
    made = {"classification": _yes_or_no, "multiclass": _classes, "regression": _number}[spec.task]
    return made(spec, truths, list(said))


def _numbers(labels: Any) -> "NDArray[np.float64]":
    import pandas as pd

    found: NDArray[np.float64] = pd.to_numeric(labels, errors="coerce").to_numpy("float64")
    return found


def _lacks(spec: ModelSpec, truth: Any, answer: Any) -> bool:
    import numpy as np

    if spec.task == "multiclass" and spec.outputs < 3:  # Evidently takes two classes for yes and no
        return True
    if not len(truth) or np.isnan(truth).any() or np.isnan(answer).any():
        return True
    classes = 1 if spec.task == "regression" else max(2, spec.outputs)
    return len(np.unique(truth)) < classes


def _yes_or_no(spec: ModelSpec, truths: list[Any], said: list[Any]) -> Quality:
    from evidently import BinaryClassification
    from evidently.presets import ClassificationQuality

    role = BinaryClassification(target=TRUTH, prediction_probas=ANSWER, pos_label=1)  # type: ignore[arg-type]
    old, new = ({TRUTH: t.astype(int), ANSWER: s} for t, s in zip(truths, said, strict=True))
    part = ClassificationQuality(probas_threshold=spec.threshold, conf_matrix=True, include_tests=False)
    return Quality([part], (old, new), {"classification": [role]})


def _classes(spec: ModelSpec, truths: list[Any], said: list[Any]) -> Quality:
    import numpy as np
    from evidently import MulticlassClassification
    from evidently.presets import ClassificationQuality

    names = [f"class {each}" for each in spec.label.classes]
    role = MulticlassClassification(target=TRUTH, prediction_probas=names)
    old, new = (
        {TRUTH: np.asarray(names)[t.astype(int)], **dict(zip(names, s.T, strict=True))}
        for t, s in zip(truths, said, strict=True)
    )
    return Quality([ClassificationQuality(include_tests=False)], (old, new), {"classification": [role]})


def _number(_: ModelSpec, truths: list[Any], said: list[Any]) -> Quality:
    from evidently import Regression
    from evidently.metrics import MAE, RMSE, MeanError

    role = Regression(target=TRUTH, prediction=ANSWER)
    old, new = ({TRUTH: t, ANSWER: s} for t, s in zip(truths, said, strict=True))
    none: dict[str, Any] = {"mean_tests": [], "std_tests": []}
    return Quality([RMSE(tests=[]), MAE(**none), MeanError(**none)], (old, new), {"regression": [role]})
