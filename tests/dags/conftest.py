"""Airflow of the tests' own: a temporary home and database, set before Airflow is imported."""

import os
import tempfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
HOME = tempfile.mkdtemp(prefix="evergreen-dags-")
os.environ.update(
    {
        "AIRFLOW_HOME": HOME,
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    }
)


@pytest.fixture(scope="session")
def dags() -> dict:
    """Every DAG by id, after asserting that all files could be read."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(PROJECT / "dags"))
    assert bag.import_errors == {}
    assert bag.dags
    return dict(bag.dags)


@pytest.fixture(scope="session")
def plugin() -> None:
    """Airflow's plugins are loaded: a module first imported while a test has its own catalog would keep it."""
    import airflow.settings  # noqa: F401 - puts the plugins' folder on the path
    from evergreen_airflow import pages  # noqa: F401
