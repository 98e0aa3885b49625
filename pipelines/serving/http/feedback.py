"""The truth that comes back: what became of an answer, told by its id."""

import logging
import math
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

from fastapi import FastAPI, HTTPException
from pydantic import BeforeValidator, Field, StringConstraints

from pipelines.catalog import ModelSpec
from pipelines.serving.answering import Service
from pipelines.serving.causes import passed
from pipelines.serving.http.access import scoped
from pipelines.serving.schemas import Problem, Strict, moment
from pipelines.stores.answers.predictions import Truth

log = logging.getLogger("evergreen.serving")


class Feedback(Strict):
    """What became true of one answer."""

    prediction_id: Annotated[str, StringConstraints(min_length=1, max_length=36)] = Field(
        description="that of the answer"
    )
    truth: bool | int | float | Annotated[str, StringConstraints(max_length=200)] = Field(
        description="0 or 1, a class of the model, or the value that a regression should have said"
    )
    known_at: Annotated[datetime, BeforeValidator(moment)] | None = Field(
        None, description="when it was known, in ISO 8601 with a zone; left out: now"
    )


class Recorded(Strict):
    """What the truth was recorded for."""

    prediction_id: str
    model: str
    version: int


def add(app: FastAPI, service: Service) -> None:
    """The one route by which anybody tells what became of an answer."""

    @app.post(
        "/v1/feedback",
        tags=["predictions"],
        summary="Tell what became of an answer",
        responses={
            404: {"model": Problem, "description": "No answer has this id"},
            422: {"model": Problem, "description": "The truth is none that the model could have told"},
            503: {"model": Problem, "description": "It could not be recorded; tell it again"},
        },
    )
    @scoped(
        "feedback", "truth is recorded beside the answer it was told of, measures the model, and trains none"
    )
    def feedback(told: Feedback) -> Recorded:
        now = datetime.now(UTC)
        try:
            answer = service.predictions.get(told.prediction_id)
            if answer is None:
                raise HTTPException(404, "no answer has this id; quote the prediction_id that came with it")
            truth = _checked(service.predictor(answer.model).spec, told.truth)
            known = told.known_at or now
            if known > now:
                raise HTTPException(
                    422, "known_at lies in the future; say when it was known, or leave it out"
                )
            service.predictions.tell(Truth(str(uuid4()), answer.prediction_id, truth, known, now))
        except HTTPException:
            raise
        except Exception as error:
            log.error("a truth could not be recorded: %s", passed(error))
            raise HTTPException(503, "the truth could not be recorded; tell it again") from error
        return Recorded(prediction_id=answer.prediction_id, model=answer.model, version=answer.version)


def _checked(spec: ModelSpec, truth: Any) -> str | float:
    """The truth as it is kept; 422 names what the model could have told."""
    if spec.label.classes:
        if isinstance(truth, bool) or truth not in spec.label.classes:
            raise HTTPException(422, f"truth is one of {', '.join(map(str, spec.label.classes))}")
        return truth  # type: ignore[no-any-return]
    if isinstance(truth, str) or not math.isfinite(truth):
        raise HTTPException(422, "truth is a number")
    if spec.task == "classification" and truth not in (0, 1):
        raise HTTPException(422, "truth is 1 where it happened, and 0 where it did not")
    return float(truth)
