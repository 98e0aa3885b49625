"""The promises of ledger and audit log hold on a real PostgreSQL as they do on SQLite."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pydantic import SecretStr

from pipelines.contracts import Batch, BatchState, IngestResult
from pipelines.ingestion.accounting import places
from pipelines.ingestion.ingest import discover, ingest, ingest_dataset
from pipelines.prove.servers import postgresql_missing, postgresql_server
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.audit.log import AUDIT
from pipelines.stores.audit.unlogged import Decisions
from pipelines.stores.watching.costs import NOTHING, OK, SERVE, Figure
from tests.integration.ingestion.test_ingest import DATA, GOOD, SPEC, land

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
pytestmark = pytest.mark.skipif(postgresql_missing() is not None, reason=str(postgresql_missing()))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A PostgreSQL of our own on loopback."""
    # Its socket lies in the folder, whose name must be short.
    with TemporaryDirectory(prefix="evergreen-pg-") as folder, postgresql_server(Path(folder)) as address:
        yield f"postgresql+psycopg2://evergreen@{address}/postgres"


@pytest.fixture
def on_postgresql(url: str, tmp_path: Path) -> Stores:
    """Stores whose ledger lies in an empty schema of its own."""
    import sqlalchemy as sa

    schema = f"s{abs(hash(tmp_path)):x}"
    with sa.create_engine(url).begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    return Stores(
        Settings(
            _env_file=None, home=tmp_path, database_url=SecretStr(f"{url}?options=-csearch_path%3D{schema}")
        )
    )


def test_files_are_taken_in_once_and_all_is_counted(on_postgresql: Stores) -> None:
    land(on_postgresql, GOOD)
    land(on_postgresql, (DATA / "flights_broken_row.csv").read_bytes(), "flights_2.csv")
    first, second = ingest_dataset(SPEC, on_postgresql)
    assert (first.state, first.silver, second.parsed) == (BatchState.ARCHIVED, 30, 30)
    assert second.silver + second.quarantined + second.superseded == 30
    land(on_postgresql, GOOD, "flights_again.csv")
    assert ingest_dataset(SPEC, on_postgresql) == []
    assert places(SPEC, on_postgresql).num_rows == 60
    assert on_postgresql.ledger.watermark("flights") == first.last_known
    assert [step.step for step in on_postgresql.ledger.history(first.digest, "flights")] == [
        "seen", "claimed", "committed", "archived",
    ]  # fmt: skip


def test_two_runs_at_once_do_no_more_than_one(on_postgresql: Stores) -> None:
    land(on_postgresql, GOOD)
    [batch] = discover(SPEC, on_postgresql)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: ingest(SPEC, batch, Stores(on_postgresql.settings)), range(2)))
    assert results[0] == results[1]
    assert places(SPEC, on_postgresql).num_rows == 30


def test_one_of_many_claims_wins_and_an_outranked_one_ends_nothing(on_postgresql: Stores) -> None:
    batch = Batch("d", "flights", "flights_1.csv", 1)
    on_postgresql.ledger.see(batch)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda _: on_postgresql.ledger.claim(batch, 0.2), range(8)))
    [first] = [claim for claim in won if claim is not None]
    on_postgresql.ledger.let_go(first)
    second = on_postgresql.ledger.claim(batch, 60)
    assert second is not None
    assert second.token > first.token
    done = IngestResult("d", "flights", "flights_1.csv", BatchState.COMMITTED, attempt=first.token)
    on_postgresql.ledger.record(done, first)
    assert on_postgresql.ledger.result("d", "flights").state is BatchState.CLAIMED
    assert not on_postgresql.ledger.renew(first, 60)


def test_the_audit_log_is_one_chain_whoever_appends_at_once(on_postgresql: Stores) -> None:
    shared = on_postgresql.settings

    def append(number: int) -> bool:
        return Stores(shared).audit.append(AT, f"worker {number}", "train", "model:m", once=str(number % 12))

    with ThreadPoolExecutor(4) as pool:
        new = list(pool.map(append, range(24)))
    assert sum(new) == 12
    assert [entry.number for entry in on_postgresql.audit.entries()] == list(range(1, 13))
    assert on_postgresql.audit.verify() == []


def test_an_edited_cut_or_emptied_audit_log_is_found(on_postgresql: Stores, url: str) -> None:
    import sqlalchemy as sa

    for number in range(6):
        on_postgresql.audit.append(AT, "ada", "train", f"model:{number}", evidence={"n": number})
    whole = list(on_postgresql.audit.rows())
    edits = [
        f"UPDATE audit SET {name} = {name} || 'x' WHERE number = 3"
        for name in ("who", "why", "evidence", "at")
    ]
    edits += ["UPDATE audit SET number = 30 WHERE number = 3", "DELETE FROM audit WHERE number = 3"]
    edits += ["DELETE FROM audit WHERE number > 4", "DELETE FROM audit", "DROP TABLE audit"]
    made = sa.create_engine(on_postgresql.settings.database)
    for edit in edits:
        with made.begin() as connection:
            connection.exec_driver_sql(edit)
        again = Stores(on_postgresql.settings)
        assert again.audit.verify(), edit
        with made.begin() as connection:
            connection.exec_driver_sql("DELETE FROM audit")
            connection.execute(sa.insert(AUDIT), whole)
        assert again.audit.verify() == [], edit
    made.dispose()


def test_what_ingestion_decided_is_in_the_audit_log_once(on_postgresql: Stores) -> None:
    land(on_postgresql, GOOD)
    [result] = ingest_dataset(SPEC, on_postgresql)
    ingest_dataset(SPEC, on_postgresql)
    [entry] = on_postgresql.audit.entries()
    assert (entry.action, entry.subject) == ("commit", f"batch:flights/{result.digest}")
    assert Decisions(on_postgresql.settings.database).unsaid() == []


def test_what_steps_took_is_kept_once_a_days_empty_runs_in_one_row_and_nobody_waits(
    on_postgresql: Stores,
) -> None:
    import time

    import sqlalchemy as sa

    costs, year = on_postgresql.costs, timedelta(days=365)
    done = Figure(
        "features", "views", "", OK, AT, 2.0, 1.0, "run", read=5_000_000_000, parts={"weather": 1.5}
    )
    costs.add(done, "one", year)
    costs.add(done, "one", year)
    for number in range(3):
        costs.add(Figure("plan", "model", "m", NOTHING, AT, 2.0, 1.0, peak=number), f"sweep {number}", year)
    kept, swept = sorted(costs.between(None, AT), key=lambda each: each.stage)
    assert kept == done
    assert (swept.runs, swept.cpu, swept.peak, swept.read) == (3, 3.0, 2, None)
    with sa.create_engine(on_postgresql.settings.database).begin() as other:
        other.exec_driver_sql("LOCK TABLE costs IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        with pytest.raises(sa.exc.DBAPIError):
            costs.add(done, "two", year)
        assert time.monotonic() - begun < 30


def test_what_processes_of_serving_add_at_once_is_all_in_the_rows_of_the_hour(on_postgresql: Stores) -> None:
    models, year = ("a", "b", "c"), timedelta(days=365)
    made = [Figure(SERVE, "model", each, OK, AT, 2.0, 1.0, runs=3, rows=5, version=1) for each in models]
    on_postgresql.costs.add_up(made, year)
    with ThreadPoolExecutor(4) as pool:
        turned = [made, made[::-1]] * 10
        list(pool.map(lambda figures: on_postgresql.costs.add_up(figures, year), turned))
    found = on_postgresql.costs.between(None, AT)
    assert sorted(each.subject for each in found) == [*models]
    assert {(each.runs, each.rows, each.cpu) for each in found} == {(63, 105, 21.0)}
