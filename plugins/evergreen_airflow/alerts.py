"""What the people on call hear: what broke, and whether anyone must act."""

import json
import logging
import threading
import time
import urllib.request
from typing import Any

LOG = logging.getLogger(__name__)
SECONDS = 10.0
"""How long a webhook may take to connect and for each answer; in all, twice that."""
REST = 60.0
"""So long nothing is posted to a webhook that did not answer: a task with a hundred alerts would wait for each."""
_SILENT: dict[str, float] = {}
"""When a webhook last did not answer in time, by its address."""

HELD = "Not now. The rest went on; `evergreen quarantine list` shows what is held back."
WAITS = "If it is told again. The other files went on and this one lies in the landing folder; the log has the fault."


def failed(context: dict[str, Any]) -> None:
    """A task has failed for good: log one line, keep it in home/alerts.jsonl, post it if a webhook is set."""
    task, error = context["task_instance"], context.get("exception")
    tell(
        {
            "what": f"{task.dag_id}.{task.task_id} failed",
            "run": str(context.get("run_id", "")),
            "why": f"{type(error).__name__}: {error}",
            "act": "Yes. Read the task's log; the DAG's documentation says what to do. Nothing was lost.",
        }
    )


def refused(dataset: str, results: list[dict[str, Any]]) -> None:
    """Files or rows were refused, wait, or something about a file deserves a look; the rest went on."""
    for result in results:
        if result["state"] == "refused" or result["quarantined"] or result["reason"]:
            waits = result["state"] in ("seen", "claimed")
            state = "waits" if waits else f"{result['state']}, {result['quarantined']} rows quarantined"
            tell(
                {
                    "what": f"{dataset}: {result['name']}: {state}",
                    "why": result["reason"] or "rows broke the dataset's rules",
                    "act": WAITS if waits else HELD,
                }
            )


def tell(alert: dict[str, Any]) -> None:
    """Never raises: an alert that cannot be delivered must not break what it reports.

    A way that fails does not stop the other; what a webhook is called is in no log.
    """
    _try(lambda: LOG.error("ALERT %s", json.dumps(alert, default=str)), "logged")
    _try(lambda: _keep(alert), "kept in alerts.jsonl")
    _try(lambda: _post(alert), "posted to the webhook")


def _try(way: Any, done: str) -> None:
    try:
        way()
    except Exception as error:
        # Of the error only its kind: its text may hold the address, which is a secret.
        LOG.warning("the alert was not %s: %s", done, type(error).__name__)


def _keep(alert: dict[str, Any]) -> None:
    from pipelines.settings import settings

    path = settings().home / "alerts.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(alert, default=str) + "\n")


def _post(alert: dict[str, Any]) -> None:
    """Posts in a thread of its own: a hook that answers a byte at a time would outlast any time-out of a socket."""
    from pipelines.settings import settings

    webhook = settings().alert_webhook
    if webhook is None:
        return
    url, begun = webhook.get_secret_value(), time.monotonic()
    if begun < _SILENT.get(url, -REST) + REST:
        raise TimeoutError
    body = json.dumps({"text": f"{alert.get('what')}: {alert.get('why')}. Act? {alert.get('act')}"}).encode()
    faults: list[Exception] = []
    sender = threading.Thread(target=_sent, args=(url, body, faults), name="alert", daemon=True)
    sender.start()
    sender.join(2 * SECONDS)
    if sender.is_alive() or time.monotonic() - begun >= SECONDS:
        _SILENT[url] = time.monotonic()
        raise TimeoutError
    if faults:
        raise faults[0]


def _sent(url: str, body: bytes, faults: list[Exception]) -> None:
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked
        urllib.request.urlopen(request, timeout=SECONDS).close()  # noqa: S310 - by the settings
    except Exception as error:
        faults.append(error)
