"""What the serving of this machine says of itself, and when it follows a promotion."""

import json
import time
import urllib.request
from typing import Any

from pipelines.contracts import EvergreenError
from pipelines.serving.door.tls import doubted, trusted
from pipelines.settings import Settings

PATIENCE = 30.0
STEP = 0.1


def status(settings: Settings, model: str) -> dict[str, Any] | None:
    """What serving says of a model; None while nobody answers, it knows no such model, or does not let us in.

    EvergreenError if what answers there cannot be trusted.
    """
    try:
        return dict(json.loads(exchange(settings, f"/v1/models/{model}", seconds=5)))
    except (OSError, ValueError):
        return None


def exchange(settings: Settings, path: str, body: Any = None, *, seconds: float) -> bytes:
    """What serving answers to a question, by the settings' address, key and authorities.

    EvergreenError if its certificate is not trusted, HTTPError if it refuses, another OSError if it does not answer.
    """
    headers = {"Content-Type": "application/json", **settings.serving_headers}
    sent, url = None if body is None else json.dumps(body).encode(), settings.serving_address + path
    asked = urllib.request.Request(url, sent, headers)  # noqa: S310 - our own server
    try:
        known = trusted(settings.serving_tls_ca)
        with urllib.request.urlopen(asked, timeout=seconds, context=known) as reply:  # noqa: S310 - as above
            return bytes(reply.read())
    except OSError as error:
        raise doubted(settings.serving_address, error) or error from None


def followed(settings: Settings, model: str, version: int, patience: float = PATIENCE) -> str:
    """Waits until serving answers with `version`, and says in a sentence what came of it.

    Nothing is waited for where serving does not run, or where it says that it cannot load the version.
    """
    try:
        return _followed(settings, model, version, patience)
    except EvergreenError as error:
        return f"Whether serving answers with version {version} is not known: {error}"


def _followed(settings: Settings, model: str, version: int, patience: float) -> str:
    begun = time.monotonic()
    while said := status(settings, model):
        spent = time.monotonic() - begun
        if said["version"] == version:
            return f"Serving answers with version {version}."
        error = said["last_error"] or ""
        if error.startswith(f"version {version} ") or spent > patience:
            return f"Serving does not answer with version {version} after {spent:.0f} s. {error}"
        time.sleep(STEP)
    return "Serving does not run here; `evergreen start` starts it, and it answers with the champion."
