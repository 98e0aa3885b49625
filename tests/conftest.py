"""What every test may lean on: stores of its own under a temporary home, and no setting from outside."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import prometheus_client  # noqa: F401 - as in serving: once Feast is there first, counters are kept in files
import pytest
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadFileScheduling

from pipelines.places import sqlite_url
from pipelines.settings import Settings, settings
from pipelines.stores import Stores
from pipelines.stores.feature_store import feast_import
from pipelines.stores.tracking.registry import Tracking
from tests.once import once

os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
"""Spark's Java lives a minute here, most of which it would spend on making itself faster for hours."""

os.environ["EVERGREEN_THREADS"] = "1"
"""Workers share the processors, and small questions gain nothing by threads; rules about threads name how many."""

hypothesis_settings.register_profile("evergreen", deadline=None)
hypothesis_settings.load_profile("evergreen")
"""Rules are not timed: how long an example takes says more of who else is at work."""

FIRST = (
    "journey/",
    "test_production",
    "test_gates",
    "test_awkward",
    "test_spark",
    "prove/",
    "integration/",
    "dags/",
)

TOGETHER = {"spark": {"tests/integration/features/test_spark.py", "tests/unit/features/test_dialects.py"}}
"""Files whose tests lean on the same process, by its name."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than processors: those that wait for Airflow or for a server leave theirs to others."""
    return (os.cpu_count() or 1) + 1


class _Shared(LoadFileScheduling):
    """A file's tests run in one worker; and so do those of files that need the same, which then starts once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return next((need for need, files in TOGETHER.items() if file in files), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Shared:
    return _Shared(config, log)


class _Outcomes:
    """Keeps in pytest's cache how each test ended the last time, and when: `evergreen scorecard` looks there."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.ended = config, dict[str, tuple[bool, str]]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome == "failed":
            good = report.outcome == "passed" and self.ended.get(report.nodeid, (True, ""))[0]
            self.ended[report.nodeid] = (good, datetime.now(UTC).isoformat())

    def pytest_sessionfinish(self) -> None:
        if self.ended and getattr(self.config, "cache", None) is not None:
            known = self.config.cache.get("evergreen/outcomes", {})
            self.config.cache.set("evergreen/outcomes", {**known, **self.ended})


def pytest_configure(config: pytest.Config) -> None:
    working = hasattr(config, "workerinput")
    if not working:
        config.pluginmanager.register(_Outcomes(config))
    if working or not config.getoption("numprocesses", None):
        # As in every process of ours, before a test's module imports it otherwise. Not in one that starts workers:
        # Feast names a folder for metrics in the environment, and they would keep theirs in files.
        feast_import.unchecked()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: next((n for n, part in enumerate(FIRST) if part in item.nodeid), len(FIRST)))


@pytest.fixture(autouse=True, scope="module")
def _forks_of_its_own() -> Iterator[None]:
    """A module's processes are forked from one that has imported what they need, not what the module before did."""
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True, scope="session")
def _mlflows_tables_are_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MLflow makes its tables by fifty migrations; in a home without them it finds a copy of what they made first."""
    opened = Tracking.client.func

    def made(home: Path) -> None:
        client = opened(Stores(Settings(_env_file=None, home=home)).tracking)
        assert client.search_experiments()
        assert not client.search_registered_models()

    def client(self: Tracking) -> object:
        file = self.settings.home / "mlflow.db"
        if self.settings.mlflow_uri == sqlite_url(file) and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copy(once(tmp_path_factory, "mlflow", made) / file.name, f"{file}.{os.getpid()}")
            Path(copy).replace(file)
        return opened(self)

    Tracking.client.func = client
    yield
    Tracking.client.func = opened


@pytest.fixture(autouse=True)
def _no_settings_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees the defaults, with its own home, whatever the shell or a .env file says."""
    for name in [n for n in os.environ if n.startswith("EVERGREEN_") and n != "EVERGREEN_THREADS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))
    settings.cache_clear()


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """Empty stores on real local back ends under tmp_path."""
    return Stores(Settings(_env_file=None, home=tmp_path))
