"""Real flights, ingested once; each test that writes works on a copy."""

from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pipelines.catalog import dataset, model
from pipelines.features import leakage
from pipelines.features.compute import compute
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.loop.replay import replay
from pipelines.settings import Settings
from pipelines.stores import Stores
from tests.hurried import few_rules
from tests.once import copied_home, once

AS_OF = datetime(2013, 1, 10, 12, tzinfo=UTC)


@pytest.fixture
def hardly_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each suite one rule is asked, for tests that ask something else of the rows."""
    few_rules(monkeypatch)


@pytest.fixture(scope="session")
def january(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose silver holds the first twelve days of 2013, landed day by day; to be read, not changed.

    That the views stood the check is noted there: it has rules of its own, and costs more than computing them.
    """
    return once(tmp_path_factory, "january", landed)


def landed(home: Path) -> None:
    shared = Stores(Settings(_env_file=None, home=home))
    list(replay("flight_delays", date(2013, 1, 1), date(2013, 1, 12), "1d", home / "landing"))
    with pytest.MonkeyPatch.context() as patched:
        few_rules(patched)
        for name in model("flight_delays").datasets:
            assert ingest_dataset(dataset(name), shared)
    with TemporaryDirectory() as other:
        for version in Stores(Settings(_env_file=None, home=other)).features.current.values():
            leakage.stood(version, AS_OF, shared)


@pytest.fixture
def flown(january: Path, tmp_path: Path) -> Stores:
    """A copy of the January home, with nothing computed from it yet."""
    copied_home(january, tmp_path)
    return Stores(Settings(_env_file=None, home=tmp_path))


@pytest.fixture(scope="session")
def computed(january: Path, tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """The January home with features as of AS_OF; to be read, not changed."""

    def made(home: Path) -> None:
        copied_home(january, home)
        stores = Stores(Settings(_env_file=None, home=home))
        assert sum(compute(AS_OF, stores).rows.values()) > 1000

    return Stores(Settings(_env_file=None, home=once(tmp_path_factory, "computed", made)))


@pytest.fixture
def counted(computed: Stores, tmp_path: Path) -> Stores:
    """A copy of the January home with features as of AS_OF."""
    copied_home(computed.settings.home, tmp_path)
    return Stores(Settings(_env_file=None, home=tmp_path))
