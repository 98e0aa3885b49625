"""Explains an answer of the prediction log by the very question, features and version that it came from."""

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from pipelines.catalog import ModelSpec
from pipelines.contracts import as_json
from pipelines.serving.explaining import EVALUATIONS
from pipelines.serving.explaining.mixing import Explained, Unexplained, explained
from pipelines.serving.schemas import Contribution, Explanation, request_model
from pipelines.serving.served import Found, answers_of, rows
from pipelines.stores.answers.predictions import Prediction

if TYPE_CHECKING:
    import pandas as pd


def explain(
    asked: Prediction,
    spec: ModelSpec,
    pipeline: Any,
    background: "pd.DataFrame",
    evaluations: int = EVALUATIONS,
    of: str | None = None,
    go_on: Callable[[], None] = lambda: None,
) -> Explanation:
    """What each input contributed to an answer, by the `pipeline` that gave it; the same each time it is asked.

    `of` names a class, by default the one that was predicted. `go_on` is called between two calls of the model, and
    may raise. Unexplained says why an answer cannot be explained.
    """
    label, place = _explained_label(asked, spec, of)
    probabilities = asked.probabilities
    said = (
        [asked.answer] if probabilities is None else [probabilities[str(each)] for each in spec.label.classes]
    )
    found = explained(
        _row(asked, spec, pipeline),
        background,
        np.asarray(said, dtype="float64"),
        lambda frame: answers_of(pipeline, spec.label.classes, frame),
        evaluations,
        _seed(asked),
        go_on,
    )
    return _told(asked, spec, label, place, said[place], found)


def _explained_label(asked: Prediction, spec: ModelSpec, of: str | None) -> tuple[str, int]:
    """What is explained, by name, and its place among the answer's numbers."""
    classes = [str(each) for each in spec.label.classes]
    if bool(classes) != (asked.probabilities is not None) or set(asked.probabilities or ()) != set(classes):
        raise Unexplained(
            "the answer is of other classes than spec.yaml has now, so nothing here explains it"
        )
    if not classes:
        if of not in (None, spec.label.name):
            raise Unexplained(f"the answer has no classes, it is of {spec.label.name}; leave `of` out")
        return spec.label.name, 0
    name = str(asked.prediction) if of is None else of
    if name not in classes:
        raise Unexplained(f"`of` is one of {', '.join(classes)}")
    return name, classes.index(name)


def _row(asked: Prediction, spec: ModelSpec, pipeline: Any) -> "pd.DataFrame":
    """The question as the model was asked it: one row, typed as then."""
    question = as_json({"entities": asked.entities, "request": asked.request})
    try:
        body = request_model(spec).model_validate(question).model_dump()
        return rows(spec, [(body, Found(asked.features, []))], pipeline)
    except (ValidationError, KeyError) as error:
        raise Unexplained(
            "the answer was logged with other fields or features than the model takes now, so nothing here explains it"
        ) from error


def _seed(asked: Prediction) -> int:
    """Of the question and the model file, so that one question has one explanation."""
    question = [asked.digest, asked.entities, asked.request, asked.features]
    text = json.dumps(as_json(question), sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _told(
    asked: Prediction, spec: ModelSpec, of: str, place: int, answer: float, found: Explained
) -> Explanation:
    shares = found.shares
    how = "enumerated" if shares.exact else "estimated by permutations in antithetic pairs"
    columns = (shares.contributions[:, place], shares.errors[:, place], shares.background_errors[:, place])
    told = [
        Contribution(input=name, contribution=given, standard_error=error, background_error=apart)
        for name, given, error, apart in zip(found.inputs, *(each.tolist() for each in columns), strict=True)
    ]
    return Explanation(
        prediction_id=asked.prediction_id,
        model=asked.model,
        version=asked.version,
        of=of,
        unit="value" if spec.task == "regression" else "probability",
        answer=answer,
        base=float(found.base[place]),
        contributions=sorted(told, key=lambda each: -abs(each.contribution)),
        method=f"interventional Shapley values, {how}",
        exact=shares.exact,
        background_rows=found.rows,
        permutations=shares.permutations,
        evaluations=shares.evaluations,
    )
