"""Airflow from outside: what a person pauses by its API, and what its tasks did, from its database."""

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tests.production.site import Site

TASKS = """
select dag_id, run_id, task_id, state, try_number, coalesce(hostname, ''),
       extract(epoch from start_date), extract(epoch from end_date)
from task_instance
"""
OPEN = ("scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule")
WELL = {"success", "skipped", "removed"}


@dataclass(frozen=True)
class Task:
    """One task of one run, as Airflow knows it now; times in seconds since the epoch."""

    dag: str
    run: str
    task: str
    state: str | None
    tries: int
    where: str
    began: float | None
    ended: float | None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.dag, self.run, self.task


@dataclass
class Airflow:
    """The Airflow of a site, logged in as the admin that compose makes."""

    site: Site
    token: str = ""

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        url = self.site.asked("airflow-api-server") + path
        with urllib.request.urlopen(
            urllib.request.Request(url, data, headers, method=method), timeout=30
        ) as reply:
            return dict(json.load(reply))

    def log_in(self) -> None:
        login = {"username": "admin", "password": self.site.given["AIRFLOW_ADMIN_PASSWORD"]}
        self.token = str(self.call("POST", "/auth/token", login)["access_token"])

    def dags(self) -> set[str]:
        """The DAGs that Airflow knows by now."""
        return {
            dag["dag_id"] for dag in self.call("GET", "/api/v2/dags?limit=1000&exclude_stale=true")["dags"]
        }

    def pause(self, dag: str) -> None:
        self.call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": True})

    def tasks(self, condition: str = "true", **given: Any) -> list[Task]:
        """The tasks for which a condition in SQL holds; OperationalError while PostgreSQL is gone."""
        with self.site.database("airflow").connect() as connection:
            rows: Sequence[Any] = connection.execute(sa.text(f"{TASKS} where {condition}"), given).all()
        return [Task(*row) for row in rows]

    def working(self) -> list[Task]:
        return self.tasks("state = 'running'")

    def open(self) -> list[Task]:
        """What is not done yet; what was paused before it began is nobody's concern here."""
        goes_on = "dag_id in (select dag_id from dag where not is_paused)"
        return self.tasks(f"state in {OPEN} and {goes_on}")

    def runs(self) -> dict[str, int]:
        """How many runs are in which state."""
        with self.site.database("airflow").connect() as connection:
            rows = connection.exec_driver_sql("select state, count(*) from dag_run group by state").all()
        return {str(state): int(count) for state, count in rows}
