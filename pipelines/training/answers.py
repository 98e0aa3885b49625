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


def answers(model: Any, rows: "pd.DataFrame") -> "NDArray[Any]":
    """What a fitted model says of each row: P(label = 1), or a regression's value."""
    import numpy as np

    inputs = inputs_of(rows, model)
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(inputs)[:, 1], dtype="float64")
    return np.asarray(model.predict(inputs), dtype="float64")


def answers_digest(model: Any, rows: "pd.DataFrame") -> str:
    """SHA-256 of a fitted model's answers to the rows, in their order, as little-endian float64."""
    return digest_of(answered(model, rows))


def answered(model: Any, rows: "pd.DataFrame") -> "NDArray[Any]":
    """One number per row; none for no rows, which scikit-learn would refuse."""
    import numpy as np

    return answers(model, rows) if len(rows) else np.empty(0, dtype="float64")


def digest_of(numbers: "NDArray[Any]") -> str:
    """The canonical bytes: float64, little-endian, and one zero."""
    return hashlib.sha256((numbers + 0.0).astype("<f8").tobytes()).hexdigest()
