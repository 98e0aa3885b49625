"""What a fitted model says of rows, and the digest of it: to the bit, so that a second model can be held against it."""

import hashlib
from typing import TYPE_CHECKING, Any

from pipelines.contracts import EvergreenError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


NOT_INPUT = ("event_timestamp", "label_known_at", "label", "split")
"""What a training row has beside the columns that a model may take."""


def inputs_of(rows: "pd.DataFrame", model: Any) -> "pd.DataFrame":
    """The columns a fitted model takes, in its order; missing ones are an error that names them."""
    names = list(getattr(model, "feature_names_in_", ()))
    wanted = names or [c for c in rows if c not in NOT_INPUT]
    missing = [name for name in wanted if name not in rows]
    if missing:
        raise EvergreenError(f"the rows lack what the model was trained with: {', '.join(missing)}")
    return rows[wanted]


def answers(model: Any, rows: "pd.DataFrame", outputs: int = 1) -> "NDArray[Any]":
    """What a fitted model says of each row: P(label = 1), a regression's value, or one of several `outputs`, which are
    the probabilities of as many classes in the spec's order."""
    import numpy as np

    inputs = inputs_of(rows, model)
    if not hasattr(model, "predict_proba"):
        return np.asarray(model.predict(inputs), dtype="float64")
    said = np.asarray(model.predict_proba(inputs))
    if outputs > 1:
        return in_order(said, getattr(model, "classes_", range(outputs)), outputs)
    if said.shape[1] > 2:
        raise EvergreenError(
            f"the model tells {said.shape[1]} classes apart, spec.yaml names two; say `task: multiclass` and"
            " `label.classes`"
        )
    return np.asarray(said[:, 1], dtype="float64")


def in_order(said: "NDArray[Any]", places: Any, outputs: int) -> "NDArray[Any]":
    """A model's columns of probabilities in the order of the spec's classes; one it never saw has 0."""
    import numpy as np

    known = [int(place) for place in places]
    if said.shape[1] != len(known) or not {*known} <= {*range(outputs)}:
        raise EvergreenError(
            f"the model answers {said.shape[1]} classes, {known}; spec.yaml has {outputs}, counted from 0: train it on"
            " the labels it is given"
        )
    found = np.zeros((len(said), outputs), dtype="float64")
    found[:, known] = said
    return found


def answers_digest(model: Any, rows: "pd.DataFrame", outputs: int = 1) -> str:
    """SHA-256 of a fitted model's answers to the rows, in their order, as little-endian float64."""
    return digest_of(answered(model, rows, outputs))


def answered(model: Any, rows: "pd.DataFrame", outputs: int = 1) -> "NDArray[Any]":
    """The answers; none for no rows, which scikit-learn would refuse."""
    import numpy as np

    if len(rows):
        return answers(model, rows, outputs)
    return np.empty(0 if outputs == 1 else (0, outputs), dtype="float64")


def apart(ours: "NDArray[Any]", theirs: "NDArray[Any]") -> "NDArray[Any]":
    """How far two answers to each row lie apart; of several numbers those furthest apart count."""
    import numpy as np

    gaps = np.abs(ours - theirs)
    return np.asarray(gaps.max(axis=1) if gaps.ndim > 1 else gaps)


def as_column(said: "NDArray[Any]") -> Any:
    """Answers as one column of a table: numbers, or lists of them."""
    return list(said) if said.ndim > 1 else said


def from_column(column: Any) -> "NDArray[Any]":
    """The answers that a column of a table holds, from numpy or pandas; ValueError where rows differ in length."""
    import numpy as np

    plain = np.asarray(column)
    return np.stack([np.asarray(each, dtype="float64") for each in plain]) if plain.dtype == object else plain


def digest_of(numbers: "NDArray[Any]") -> str:
    """The canonical bytes: float64, little-endian, and one zero."""
    return hashlib.sha256((numbers + 0.0).astype("<f8").tobytes()).hexdigest()
