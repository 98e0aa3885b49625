"""What the serving of this machine says of itself, and when it follows a promotion."""

import json
import time
import urllib.request
from typing import Any

from pipelines.settings import Settings

PATIENCE = 30.0
STEP = 0.1


def status(settings: Settings, model: str) -> dict[str, Any] | None:
    """What serving says of a model; None while nobody answers or it knows no such model."""
    url = f"http://{settings.host}:{settings.serving_port}/v1/models/{model}"
    asked = urllib.request.Request(url, headers=settings.serving_headers)
    try:
        with urllib.request.urlopen(asked, timeout=5) as reply:  # noqa: S310 - our own server
            return dict(json.load(reply))
    except (OSError, ValueError):
        return None


def followed(settings: Settings, model: str, version: int, patience: float = PATIENCE) -> str:
    """Waits until serving answers with `version`, and says in a sentence what came of it.

    Nothing is waited for where serving does not run, or where it says that it cannot load the version.
    """
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
