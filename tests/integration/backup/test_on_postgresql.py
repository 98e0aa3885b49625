"""A PostgreSQL database is copied as of the instant at which it was held, and made again whole in an empty one."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa

from pipelines.backup.databases import Busy, database, is_empty, make
from pipelines.contracts import EvergreenError
from pipelines.prove.servers import postgresql_missing, postgresql_server

pytestmark = pytest.mark.skipif(postgresql_missing() is not None, reason=str(postgresql_missing()))
THINGS = sa.Table(
    "things", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("said", sa.JSON)
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with TemporaryDirectory(prefix="evergreen-pg-") as folder, postgresql_server(Path(folder)) as address:
        yield f"postgresql+psycopg2://evergreen@{address}"


def test_what_is_committed_after_the_instant_is_not_in_the_copy(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = f"{server}/postgres", f"{server}/there"
    with sa.create_engine(here, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text("CREATE DATABASE there"))
    made = sa.create_engine(here)
    with made.begin() as connection:
        THINGS.create(connection)
        connection.execute(sa.insert(THINGS), [{"id": 1, "said": {"a": 1}}])
    source = database("ledger", here)
    with source.held() as held:
        with made.begin() as connection:
            connection.execute(sa.insert(THINGS), [{"id": 2, "said": {"a": 2}}])
        held.copy(tmp_path / "copy")
        assert held.rows("SELECT id FROM things") == [(1,)]
    assert is_empty(there)
    make("ledger", "postgresql", there, tmp_path / "copy")
    with sa.create_engine(there).connect() as connection:
        assert [tuple(row) for row in connection.execute(sa.select(THINGS))] == [(1, {"a": 1})]
    with pytest.raises(EvergreenError, match="not empty"):
        make("ledger", "postgresql", there, tmp_path / "copy")
    monkeypatch.setattr("pipelines.backup.databases.PATIENCE", 0.2)
    with made.begin() as connection:
        connection.execute(sa.insert(THINGS), [{"id": 3, "said": None}])
        with pytest.raises(Busy), source.still():
            pass
    with source.still(), made.connect() as connection:
        connection.execute(sa.text("SET lock_timeout = 200"))
        with pytest.raises(sa.exc.OperationalError):
            connection.execute(sa.insert(THINGS), [{"id": 4, "said": None}])
