"""Counts and times whoever asks for predictions, by whichever protocol."""

import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serving.answering import Service
from pipelines.serving.http.access import refuse

ASKED = re.compile(
    r"/v1/models/([^/]+)/(?:predictions|invocations)/?|/v2/models/([^/]+)(?:/versions/[^/]+)?/infer/?"
)
"""Where predictions are asked for, by our own protocol, MLflow's and the Open Inference Protocol."""


EXPLAINED = re.compile(r"/v1/models/([^/]+)/explanations/?")
"""Where explanations are asked for, which are counted by themselves."""


def asked_model(path: str) -> str | None:
    """The name, as it was given, of the model that a path asks for predictions; None for any other path."""
    asked = ASKED.fullmatch(path)
    return (asked[1] or asked[2]) if asked else None


def named_model(path: str) -> str | None:
    """The name, as it was given, of the model that a path asks a question of, for its answer or its explanation."""
    explained = EXPLAINED.fullmatch(path)
    return explained[1] if explained else asked_model(path)


class Crowd:
    """Whether too many wait already, and what who comes then is told; whoever asked is counted."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def full(self) -> bool:
        """Whether who comes now is refused."""
        return self._service.lane.crowded()

    def refused(self, model: str) -> tuple[str, dict[str, str]]:
        """What someone is told who asked this model, and the headers of the answer, a 503."""
        if model in self._service.predictors:
            self._service.metrics.refused.labels(model).inc()
        busy = self._service.lane.busy()
        return str(busy), {"Retry-After": str(busy.retry_after)}

    def asked(self) -> None:
        """Somebody asks; what is used until `left` is for an answer."""
        self._service.account.enter()

    def left(self) -> None:
        """Whoever asked was told."""
        self._service.account.leave()

    def answered(self, model: str, version: str, status: int, seconds: float) -> None:
        """Count a request, whatever became of it."""
        # A name from outside never becomes a label: labels live as long as the process.
        model = model if model in self._service.predictors else "unknown"
        self._service.metrics.requests.labels(model, version, status).inc()
        self._service.metrics.seconds.labels(model).observe(seconds)


class Observed:
    """Counts and times every prediction request, also those refused before a route saw them, as while it is busy."""

    def __init__(self, app: ASGIApp, crowd: Crowd) -> None:
        self._app, self._crowd = app, crowd

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        model = asked_model(scope["path"]) if scope["type"] == "http" else None
        if model is None:
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500
        self._crowd.asked()
        state = scope["state"] = dict(scope.get("state") or {})

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            if self._crowd.full():  # at once: who is refused must not cost what an answer costs
                await refuse(noted, 503, *self._crowd.refused(model))
            else:
                await self._app(scope, receive, noted)
        finally:
            self._crowd.left()
            self._crowd.answered(model, state.get("version", "none"), status, time.perf_counter() - begun)
