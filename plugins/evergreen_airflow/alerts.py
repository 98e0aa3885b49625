"""What the people on call hear: what broke, and whether anyone must act."""

import json
import logging
import urllib.request
from typing import Any

LOG = logging.getLogger(__name__)


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
    """Files or rows were refused, or something about a file deserves a look; the rest went on."""
    for result in results:
        if result["state"] == "refused" or result["quarantined"] or result["reason"]:
            tell(
                {
                    "what": f"{dataset}: {result['name']}: {result['state']}, {result['quarantined']} rows quarantined",
                    "why": result["reason"] or "rows broke the dataset's rules",
                    "act": "Not now. The rest went on; `evergreen quarantine list` shows what is held back.",
                }
            )


def tell(alert: dict[str, Any]) -> None:
    """Never raises: an alert that cannot be delivered must not break what it reports."""
    from pipelines.settings import settings

    LOG.error("ALERT %s", json.dumps(alert))
    try:
        path = settings().home / "alerts.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(alert) + "\n")
        webhook = settings().alert_webhook
        if webhook is not None:
            _post(webhook.get_secret_value(), alert)
    except OSError as error:
        LOG.warning("the alert was not delivered: %s", type(error).__name__)


def _post(url: str, alert: dict[str, Any]) -> None:
    body = json.dumps({"text": f"{alert['what']}: {alert['why']}. Act? {alert['act']}"}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - a setting
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
