"""Airflow's REST API as its admin uses it."""

import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from pipelines.local.environment import USER, password
from pipelines.settings import Settings

TRIES = 50
PATIENT_TRIES = 5
"""How often an answer that does not come within half a minute is waited for."""


class Airflow:
    """One Airflow, logged in to; errors are urllib's, with the status Airflow answered."""

    def __init__(self, settings: Settings) -> None:
        self.base = f"http://{settings.host}:{settings.airflow_port}"
        self.token = ""
        self._assets: dict[str, int] = {}
        login = {"username": USER, "password": password(settings)[0]}
        self.token = str(self.call("POST", "/auth/token", login)["access_token"])

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, headers, method=method)  # noqa: S310 - our own
        return _answer(request, TRIES)

    def pause(self, dag: str, paused: bool) -> None:
        """From now on the DAG starts no run, or starts them again."""
        self.call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": paused})

    def dags(self) -> dict[str, bool]:
        """Every DAG Airflow knows by now, and whether it is paused."""
        found = self.call("GET", "/api/v2/dags?limit=1000&exclude_stale=true")["dags"]
        return {str(dag["dag_id"]): bool(dag["is_paused"]) for dag in found}

    def asset(self, name: str) -> int:
        """The number by which Airflow knows an asset; LookupError if it does not."""
        if name not in self._assets:
            found = self.call("GET", f"/api/v2/assets?name_pattern={name}&limit=100")["assets"]
            self._assets |= {asset["name"]: int(asset["id"]) for asset in found}
        if name not in self._assets:
            raise LookupError(f"Airflow knows no asset {name!r}; is its DAG there?")
        return self._assets[name]

    def post_event(self, asset: str, extra: dict[str, Any]) -> None:
        """What an outside system does to say that something has arrived."""
        self.call("POST", "/api/v2/assets/events", {"asset_id": self.asset(asset), "extra": extra})

    def events(self, asset: str) -> int:
        """How many events of an asset there have been."""
        path = f"/api/v2/assets/events?asset_id={self.asset(asset)}&limit=1"
        return int(self.call("GET", path)["total_entries"])

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """The newest hundred runs of a DAG, newest first."""
        path = f"/api/v2/dags/{dag}/dagRuns?limit=100&order_by=-run_after"
        return list(self.call("GET", path)["dag_runs"])

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        """The task instances of one run."""
        path = f"/api/v2/dags/{dag}/dagRuns/{quote(run)}/taskInstances"
        return list(self.call("GET", path)["task_instances"])

    def working(self, dag: str) -> list[dict[str, Any]]:
        """The task instances of a DAG that Airflow counts as running, or is about to."""
        path = f"/api/v2/dags/{dag}/dagRuns/~/taskInstances?state=running&state=queued"
        return list(self.call("GET", path)["task_instances"])


def _answer(request: urllib.request.Request, tries: int) -> dict[str, Any]:
    """The JSON answered, asked again after a 5xx as any caller must: what we post may come twice.

    Airflow 3.3 answers 500 about an event while the run it made is still queued, and on SQLite to a write that
    had to wait too long; it may not answer at all while others write.
    """
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - our own
            return dict(json.load(reply))
    except urllib.error.HTTPError as error:
        if error.code < 500 or tries <= 1:
            raise
    except TimeoutError:
        if tries <= TRIES - PATIENT_TRIES:
            raise
    time.sleep(0.2)
    return _answer(request, tries - 1)
