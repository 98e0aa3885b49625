"""The digest of what a model answers: to the bit, so that a second model can be held against the first."""

import hashlib
from typing import TYPE_CHECKING, Any

from pipelines.stages.gate.case import answers

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


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
