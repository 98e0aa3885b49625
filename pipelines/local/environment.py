"""What the local services are told: Airflow's configuration, all by environment, and the secrets it needs."""

import json
import os
import secrets
import sys
from pathlib import Path

from pipelines.places import sqlite_url
from pipelines.settings import PROJECT, Settings

USER = "admin"
BIN = Path(sys.executable).parent
PATIENT = {"timeout": 15}
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""Where it is set, as in many containers, each task would compile again what it imports, ours and others'."""
COUNTED = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")
"""Feast names a folder there once it is imported, which is gone with the process that did."""
OURS_ALONE = {NO_BYTECODE, *COUNTED}

LINEAGE = {
    "OPENLINEAGE__EXTRACTORS": "evergreen_airflow.lineage.Stages",
    "OPENLINEAGE__EMISSION_POLICY": json.dumps([{"scope": {}, "controls": {"include_source_code": False}}]),
    "OPENLINEAGE__EXECUTE_IN_THREAD": True,
}
"""How Airflow's OpenLineage provider tells of tasks, where OPENLINEAGE__TRANSPORT says where to. By default it forks
for each event, and a fork of a task whose libraries have threads may never come to its end: that event is lost."""


def secret(settings: Settings, name: str) -> str:
    """A random secret that lasts, in a file only its owner can read."""
    path = settings.home / "secrets" / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text()
    value = secrets.token_urlsafe(32)
    with os.fdopen(handle, "w") as file:
        file.write(value)
    return value


def password(settings: Settings) -> tuple[str, bool]:
    """The UI's password, and whether it was made just now."""
    path = passwords_file(settings)
    fresh = not path.exists()
    if fresh:
        value = secret(settings, "airflow_password")
        handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({USER: value}, file)
    return str(json.loads(path.read_text())[USER]), fresh


def passwords_file(settings: Settings) -> Path:
    return settings.home / "secrets" / "airflow_passwords.json"


def environment(settings: Settings) -> dict[str, str]:
    """The environment of every child: ours, these settings, and Airflow's configuration."""
    base = f"http://{settings.host}:{settings.airflow_port}"
    home = settings.home / "airflow"
    airflow = {
        "CORE__DAGS_FOLDER": PROJECT / "dags",
        "CORE__PLUGINS_FOLDER": PROJECT / "plugins",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": 4,
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "CORE__EXECUTION_API_SERVER_URL": f"{base}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords_file(settings),
        "CORE__FERNET_KEY": "",
        "DATABASE__SQL_ALCHEMY_CONN": sqlite_url(home / "airflow.db"),
        "API__HOST": settings.host,
        "API__PORT": settings.airflow_port,
        "API__BASE_URL": base,
        "API__WORKERS": 1,
        "API__SECRET_KEY": secret(settings, "api_secret"),
        "API_AUTH__JWT_SECRET": secret(settings, "jwt_secret"),
        # A busy machine keeps SQLite's one writer longer than the five seconds that are the default; much more than
        # these fifteen and a request outlives whoever asked.
        "DATABASE__SQL_ALCHEMY_CONNECT_ARGS": "pipelines.local.environment.PATIENT",
        # A task that ended holds its slot until the next beat, five seconds by default.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
        # Each task waits a part of it; at a fifth of a second an idle scheduler takes 8% of a processor, at half
        # of one 4%.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.5,
        "SCHEDULER__ENABLE_HEALTH_CHECK": False,
        "DAG_PROCESSOR__REFRESH_INTERVAL": 60,
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 60,
        "DAG_PROCESSOR__PARSING_PROCESSES": 1,
        "LOGGING__BASE_LOG_FOLDER": settings.home / "logs" / "airflow",
        "LOGGING__LOGGING_LEVEL": "INFO",
        "USAGE_DATA_COLLECTION__ENABLED": False,
        **LINEAGE,
    }
    ours = {
        f"EVERGREEN_{name.upper()}": _plain(value)
        for name in type(settings).model_fields
        if (value := getattr(settings, name)) is not None
    }
    return {
        **{name: value for name, value in os.environ.items() if name not in OURS_ALONE},
        **ours,
        **{f"AIRFLOW__{name}": str(value) for name, value in airflow.items()},
        "AIRFLOW_HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")]),
        "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", "")]),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # As an argument, the password in it could be read in the list of processes.
        "MLFLOW_BACKEND_STORE_URI": settings.mlflow_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _plain(value: object) -> str:
    reveal = getattr(value, "get_secret_value", None)
    return str(reveal() if reveal else value)


def commands(settings: Settings) -> dict[str, list[str]]:
    """The command of each service, by name."""
    airflow, mlflow = str(BIN / "airflow"), str(BIN / "mlflow")
    return {
        "airflow-api-server": [airflow, "api-server"],
        "airflow-scheduler": [airflow, "scheduler", "--skip-serve-logs"],
        "airflow-dag-processor": [airflow, "dag-processor"],
        "airflow-triggerer": [airflow, "triggerer", "--skip-serve-logs"],
        "mlflow": [
            *(mlflow, "server", "--workers", "1"),
            *("--host", settings.host, "--port", str(settings.mlflow_port)),
            *("--artifacts-destination", settings.mlflow_artifacts),
        ],
        "serving": [sys.executable, "-m", "pipelines.serving"],
    }
