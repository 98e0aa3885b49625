"""How a version that passed its gate comes before people: by steps, watched, and taken back by itself."""

from datetime import timedelta
from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from pipelines.catalog.types import Duration, Share, Spec, Unit

InAnswer = Annotated[float, Unit("in the answer")]


class Step(Spec):
    """One step: which share of the questions the challenger answers, and for how long at least."""

    share: Share = Field(
        ge=0,
        le=1,
        description="of those who ask; 0 is shadow: it sees the questions and answers nobody",
        examples=[0.1],
    )
    bake: Duration = Field(timedelta(hours=1), description="no step is shorter")


class Limits(Spec):
    """What the challenger may cost, each held against the champion on the same questions; beyond doubt more ends it."""

    errors: Share = Field(
        0.001, ge=0, lt=0.5, description="of the questions, on which it fails and the champion does not"
    )
    slower: Annotated[float, Unit("times the champion's time")] = Field(
        1.5, ge=1, description="more often than not it takes longer than this"
    )
    apart: InAnswer | None = Field(
        None, gt=0, description="two answers differ that are further apart; left out: agreement is not judged"
    )
    disagreement: Share = Field(0.1, gt=0, lt=1, description="of the questions, on which the answers differ")
    loss: InAnswer | None = Field(
        None,
        ge=0,
        description="how much more it may lose on average once the truth is there: in Brier score, a regression in its"
        " own unit; left out: the truth is not waited for",
    )


class Rollout(Spec):
    """From the gate's PASS to champion. Both models are asked the same questions; one of them answers."""

    steps: tuple[Step, ...] = Field(
        min_length=1,
        description="one after the other, each with a larger share; after the last it is champion",
        examples=[[{"share": 0, "bake": "1h"}, {"share": 0.1, "bake": "6h"}]],
    )
    by: tuple[str, ...] = Field(
        (),
        description="entities or fields of the request; who has the same is answered by the same; default: entities",
    )
    limits: Limits = Field(default_factory=Limits, description="what ends it")
    minimum: Annotated[int, Unit("questions")] = Field(
        500, gt=0, description="no step ends before both were asked so many"
    )
    confidence: Annotated[float, Unit("of the whole rollout, however often one looks")] = Field(
        0.995, ge=0.9, lt=1, description="an equal challenger is taken back no more often than the rest to 1"
    )
    longest: Duration = Field(
        timedelta(days=14), description="a rollout that has not ended by then is given up"
    )

    @model_validator(mode="after")
    def steps_grow(self) -> "Rollout":
        """Each step has a larger share than the one before it."""
        shares = [step.share for step in self.steps]
        if any(one >= other for one, other in pairwise(shares)):
            raise ValueError(f"rollout.steps: shares grow from step to step; they are {shares}")
        return self
