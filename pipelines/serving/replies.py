"""One answer in the words it leaves in, and in those it is logged in, for each task."""

from collections.abc import Sequence
from typing import Any

from pipelines.serving.schemas import Answer, Answered, Classified, Value
from pipelines.serving.served import Found, Said, Served
from pipelines.stores.answers.predictions import Prediction


def told(prediction: Prediction, served: Served, found: Found, warnings: list[str]) -> Answered:
    """What leaves: a probability with its decision, the likeliest class, or a regression's value."""
    said: dict[str, Any] = {
        "prediction_id": prediction.prediction_id,
        "model": prediction.model,
        "version": prediction.version,
        "overridden": served.licence.overridden,
        "missing_features": found.missing,
        "degraded": found.degraded,
        "warnings": warnings,
    }
    threshold = prediction.threshold
    if prediction.probabilities is not None:
        return Classified(**said, prediction=prediction.prediction, probabilities=prediction.probabilities)
    if threshold is None:
        return Value(**said, value=prediction.answer)
    decision = prediction.answer >= threshold
    return Answer(**said, probability=prediction.answer, decision=decision, threshold=threshold)


def logged(answer: Said, classes: Sequence[str | int]) -> dict[str, Any]:
    """The answer as it is logged: a number; of several classes that of the likeliest, which one it is, and all."""
    if not isinstance(answer, list):
        return {"answer": answer}
    best = max(answer)
    by_class = dict(zip(map(str, classes), answer, strict=True))
    return {"answer": best, "prediction": classes[answer.index(best)], "probabilities": by_class}
