"""The prediction API in this process, asked as clients ask it."""

import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.stores import Stores

CLIENTS = 8
"""So many ask at once."""
PATIENCE = 300.0
"""Seconds in which a new champion must have come, and a question must have its turn."""


class Traffic:
    """Clients of one model's route."""

    def __init__(self, client: Any, spec: ModelSpec) -> None:
        self._client, self._spec = client, spec

    def follows(self, version: int) -> None:
        """Returns once the version answers; EvergreenError if it does not come."""
        until = time.monotonic() + PATIENCE
        while (status := self._client.get(f"/v1/models/{self._spec.name}").json())["version"] != version:
            if time.monotonic() > until:
                why = status["last_error"] or "it says no reason"
                raise EvergreenError(f"version {version} does not answer after {PATIENCE:.0f} s: {why}")
            time.sleep(0.05)

    def ask(self, bodies: Sequence[dict[str, Any]]) -> None:
        """Each question once; EvergreenError tells of one that is not answered."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            for reply in clients.map(self._asked, bodies):
                if reply.status_code != 200:
                    raise EvergreenError(f"serving did not answer: {reply.status_code} {reply.text}")

    def _asked(self, body: dict[str, Any]) -> Any:
        return self._client.post(f"/v1/models/{self._spec.name}/predictions", json=body)


@contextmanager
def traffic(spec: ModelSpec, stores: Stores) -> Iterator[Traffic]:
    """The app on a deployment's real registry, features and prediction log."""
    from pipelines.serving.app import create_app

    patient = stores.settings.model_copy(update={"serving_patience_seconds": PATIENCE})
    app = create_app(patient, {spec.name: spec}, stores.tracking, stores.features, stores.predictions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastapi.testclient import TestClient

        with TestClient(app) as client:
            yield Traffic(client, spec)
