"""Asks every route of the plugin, and Airflow's own REST, as each role of FAB. Run with the production packages.

It prints {role: {what: status}}. A status other than 401 and 403 means that the role was let through: what is asked for
does not exist, so nothing happens.
"""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
PASSWORD = "of-the-test-alone"
ROLES = ("Public", "Viewer", "Operator", "Approver", "Admin")
DAG, DIGEST = "retrain_flight_delays", "0" * 64
ALERT = {
    "version": "4",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "Decayed", "model": "flight_delays", "cause": "decay", "retrain": "true"},
            "annotations": {},
            "startsAt": "2020-01-01T00:00:00Z",
            "fingerprint": "1",
        }
    ],
}
REST = {
    "look at runs": ("GET", f"/api/v2/dags/{DAG}/dagRuns", None),
    "start a run": ("POST", f"/api/v2/dags/{DAG}/dagRuns", {"logical_date": None}),
    "clear tasks": ("POST", f"/api/v2/dags/{DAG}/clearTaskInstances", {"dry_run": True}),
    "answer an approval": (
        "PATCH",
        f"/api/v2/dags/{DAG}/dagRuns/none/taskInstances/approve/-1/hitlDetails",
        {"chosen_options": ["Approve"]},
    ),
    "read a connection": ("GET", "/api/v2/connections/none", None),
    "read a variable": ("GET", "/api/v2/variables/none", None),
    "make a role": ("POST", "/auth/fab/v1/roles", {}),
}


def commands() -> None:
    """Airflow's database, the roles of docker/roles.json, and a person of each, by Airflow's own commands."""
    from airflow.cli.cli_parser import get_parser

    told = [["db", "migrate"], ["roles", "import", str(PROJECT / "docker" / "roles.json")]]
    for role in ROLES:
        who = ["--username", role.lower(), "--role", role, "--firstname", "a", "--lastname", "b"]
        told.append(["users", "create", *who, "--email", f"{role}@x.invalid", "--password", PASSWORD])
    with redirect_stdout(sys.stderr):
        for words in told:
            said = get_parser().parse_args(words)
            said.func(said)


def routes() -> list[tuple[str, str]]:
    """Every route of the plugin, with its method."""
    from evergreen_airflow.pages import app

    found = {(method, each.path) for each in walk(app.routes) for method in each.methods - {"HEAD"}}
    return sorted(found, key=lambda each: each[::-1])


def walk(routes: Any) -> Any:
    for each in routes:
        nested = getattr(each, "original_router", None)
        if nested is not None:
            yield from walk(nested.routes)
        elif getattr(each, "methods", None):
            yield each


def asked(client: Any, method: str, path: str, body: Any, token: str | None) -> int:
    sent = {"Authorization": f"Bearer {token}"} if token else {}
    act = path.rsplit("/", 1)[-1]
    if path.startswith("/evergreen") and not act.startswith("alertmanager"):
        sent["X-Evergreen"] = act
    answer = client.request(method, path, json=body, headers=sent, follow_redirects=False)
    return int(answer.status_code)


def filled(path: str) -> str:
    dag = "ingest_flights" if "arrivals" in path else DAG
    return "/evergreen" + path.replace("{dag_id}", dag).replace("{digest}", DIGEST).replace("{version}", "9")


def main() -> None:
    commands()
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    table: dict[str, dict[str, int]] = {}
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        for role in (None, *ROLES):
            token = None
            if role:
                said = client.post("/auth/token", json={"username": role.lower(), "password": PASSWORD})
                token = said.json()["access_token"]
            mine = table[role or "nobody"] = {}
            for method, path in routes():
                body = (
                    None
                    if method == "GET"
                    else ALERT
                    if path == "/alertmanager"
                    else {"reason": "r", "version": 9}
                )
                if path.endswith(("release", "retrain", "rollback")):
                    body = {"reason": "r"}
                mine[f"{method} {path}"] = asked(client, method, filled(path), body, token)
            for what, (method, path, body) in REST.items():
                mine[what] = asked(client, method, path, body, token)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
