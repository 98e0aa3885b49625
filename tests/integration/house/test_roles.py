"""Who may do what, by the real FAB manager: every route of the plugin and Airflow's own REST, as each role."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from pipelines.settings import PROJECT
from tests.integration.house.test_production import installed

__all__ = ["installed"]

pytestmark = pytest.mark.timeout(1200)
ROLES = ("nobody", "Public", "Viewer", "Operator", "Approver", "Admin")
LOOK = {"Viewer", "Operator", "Approver", "Admin"}
START, DECIDE, ADMIN = {"Operator", "Admin"}, {"Approver", "Admin"}, {"Admin"}
TABLE = {
    "GET /dag/{dag_id}": LOOK,
    "GET /arrivals/{dag_id}": LOOK,
    "GET /arrivals/{dag_id}/{digest}": LOOK,
    "GET /features/{dag_id}": LOOK,
    "GET /models": LOOK,
    "GET /model/{dag_id}": LOOK,
    "GET /model/{dag_id}/drift": LOOK,
    "GET /model/{dag_id}/performance": LOOK,
    "GET /model/{dag_id}/{version}": LOOK,
    "GET /model/{dag_id}/{version}/card": LOOK,
    "POST /alertmanager": START,
    "POST /model/{dag_id}/retrain": START,
    "POST /model/{dag_id}/promote": DECIDE,
    "POST /model/{dag_id}/rollback": DECIDE,
    "POST /arrivals/{dag_id}/{digest}/release": DECIDE,
    "look at runs": LOOK,
    "start a run": START,
    "clear tasks": START,
    "answer an approval": DECIDE,
    "read a connection": ADMIN,
    "read a variable": ADMIN,
    "make a role": ADMIN,
}
"""Who is let through; everybody else is refused."""


@pytest.fixture(scope="module")
def answered(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    """The status of each route for each role."""
    home = tmp_path_factory.mktemp("fab")
    told = {
        "PATH": f"{installed}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")]),
        "EVERGREEN_HOME": str(home / "evergreen"),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__API_AUTH__JWT_SECRET": "of-the-test-alone" * 4,
        "AIRFLOW__FAB__AUTH_RATE_LIMITED": "False",
    }
    script = Path(__file__).with_name("fab_asks.py")
    done = subprocess.run([installed / "python", script], env=told, capture_output=True, text=True, cwd=home)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_every_route_is_in_the_table_and_no_other(answered: dict[str, dict[str, int]]) -> None:
    """A new route of the plugin is placed here before it can be shipped."""
    assert set(answered) == set(ROLES)
    assert {what for mine in answered.values() for what in mine} == set(TABLE)


@pytest.mark.parametrize("what", TABLE)
def test_a_role_does_what_the_table_says_and_nothing_else(
    what: str, answered: dict[str, dict[str, int]]
) -> None:
    let_through = {role for role in ROLES if answered[role][what] not in (401, 403)}
    assert let_through == TABLE[what]
    assert answered["nobody"][what] == 401


def test_no_route_breaks_whoever_asks(answered: dict[str, dict[str, int]]) -> None:
    assert not [(role, what) for role, mine in answered.items() for what, said in mine.items() if said >= 500]
