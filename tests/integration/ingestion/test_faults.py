"""Whatever one file does, even by a fault of ours, it is noted and the files and datasets after it are taken in."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from deltalake.exceptions import DeltaError
from typer.testing import CliRunner

from pipelines.catalog import dataset
from pipelines.cli import app
from pipelines.contracts import BatchState, EvergreenError, IngestResult, TransientError
from pipelines.ingestion import arrivals, faults
from pipelines.ingestion import ingest as stage
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.ingestion.quarantine import find, release
from pipelines.loop.steps import something_new
from pipelines.prove.worlds import sandbox
from pipelines.reading import schema
from pipelines.reading.records import digest_of
from pipelines.stores import Stores
from tests.integration.ingestion.test_ingest import DATA, GOOD, LINES, SPEC, land, state

BAD = b"".join(LINES[:11])
LAST = b"".join([LINES[0], *LINES[21:]])


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """Empty stores whose suites have one expectation each: these are rules of faults, whatever is expected."""
    found = sandbox(tmp_path)
    for suite in found.settings.expectations.glob("*.json"):
        kept = json.loads(suite.read_text())
        suite.write_text(json.dumps(kept | {"expectations": kept["expectations"][:1]}))
    return found


class PanicException(BaseException):
    """What a panic in delta-rs looks like from here."""


UNFORESEEN = [
    OverflowError("date value out of range"),
    ValueError("year 10000 is out of range\nwith a second line"),
    KeyError("x"),
    AssertionError(),
    RecursionError("too deep"),
    MemoryError(),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
    sa.exc.DataError("insert", {}, Exception("value out of range")),
    PanicException("index out of bounds"),
]
INFRASTRUCTURE = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
    ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    DeltaError("Generic LocalFileSystem error: No space left on device (os error 28)"),
    sa.exc.OperationalError("select", {}, Exception("the database is gone")),
    sa.exc.InterfaceError("select", {}, Exception("connection already closed")),
    ModuleNotFoundError("No module named 'great_expectations'"),
]


def caused(error: BaseException) -> BaseException:
    """What a library makes of an error of the disk."""
    try:
        raise RuntimeError("the query failed") from error
    except RuntimeError as found:
        return found


@pytest.fixture
def break_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, BaseException | None], None]:
    """Makes taking one file in raise, or no longer."""
    real = stage.validate

    def set_fault(path: Path, error: BaseException | None) -> None:
        digest = digest_of(path)

        def validate(spec: Any, staged: Any, stores: Any, named: str = "") -> Any:
            if named == digest and error is not None:
                raise error
            return real(spec, staged, stores, named)

        monkeypatch.setattr(stage, "validate", validate)

    return set_fault


def three(stores: Stores) -> Path:
    """A file between two others; it alone will make trouble."""
    land(stores, b"".join([LINES[0], *LINES[11:21]]), "flights_1.csv")
    land(stores, LAST, "flights_3.csv")
    return land(stores, BAD, "flights_2.csv")


def steps(result: IngestResult, stores: Stores) -> list[str]:
    return [step.step for step in stores.ledger.history(result.digest, result.dataset)]


@pytest.mark.parametrize("error", UNFORESEEN, ids=lambda error: type(error).__name__)
def test_a_fault_of_ours_keeps_one_file_out_and_no_other(
    stores: Stores, break_at: Any, error: BaseException
) -> None:
    path = three(stores)
    break_at(path, error)
    first, bad, last = ingest_dataset(SPEC, stores)
    assert (first.state, last.state) == (BatchState.ARCHIVED, BatchState.ARCHIVED)
    assert (bad.state, bad.name) == (BatchState.SEEN, "flights_2.csv")
    assert str(bad.reason).startswith(f"a fault of ours: {type(error).__name__}")
    assert str(bad.reason).isprintable()
    assert path.read_bytes() == BAD
    assert [waiting.name for waiting in stores.ledger.pending("flights")] == ["flights_2.csv"]
    assert "failed" in steps(bad, stores)
    assert stores.audit.verify() == []
    break_at(path, None)
    [taken] = ingest_dataset(SPEC, stores)
    assert (taken.state, taken.silver, taken.reason) == (BatchState.ARCHIVED, 10, None)
    assert len(state(stores)[0]) == 30
    assert not path.exists()


def test_a_file_that_fails_each_time_is_refused_and_a_person_may_release_it(
    stores: Stores, break_at: Any
) -> None:
    path = three(stores)
    break_at(path, OverflowError("date value out of range"))
    tries = [[r for r in ingest_dataset(SPEC, stores) if r.name == path.name] for _ in range(faults.TRIES)]
    assert [found.state for [found] in tries] == [BatchState.SEEN] * (faults.TRIES - 1) + [BatchState.REFUSED]
    refused = tries[-1][0]
    assert "OverflowError" in str(refused.reason)
    assert "evergreen quarantine release" in str(refused.reason)
    assert not path.exists()
    assert arrivals.kept(refused, stores).read_bytes() == BAD
    assert [held.name for held in stores.ledger.quarantined("flights")] == [path.name]
    assert ingest_dataset(SPEC, stores) == []
    assert (
        release(find(path.name, stores), stores, "try again").state is BatchState.SEEN
    )  # the count begins anew
    break_at(path, None)
    [taken] = ingest_dataset(SPEC, stores)
    assert (taken.state, taken.silver) == (BatchState.ARCHIVED, 10)
    assert stores.audit.verify() == []


@pytest.mark.parametrize(
    "error", [*INFRASTRUCTURE, caused(INFRASTRUCTURE[0])], ids=lambda error: type(error).__name__
)
def test_a_fault_of_the_infrastructure_ends_the_run_and_is_no_files_doing(
    stores: Stores, break_at: Any, error: BaseException
) -> None:
    path = three(stores)
    break_at(path, error)
    for _ in range(faults.TRIES + 1):
        with pytest.raises((TransientError, RuntimeError)):
            ingest_dataset(SPEC, stores)
    assert [waiting.name for waiting in stores.ledger.pending("flights")] == [
        "flights_2.csv",
        "flights_3.csv",
    ]
    break_at(path, None)
    assert [taken.state for taken in ingest_dataset(SPEC, stores)] == [BatchState.ARCHIVED] * 2
    assert len(state(stores)[0]) == 30


def test_released_rows_that_a_fault_of_ours_keeps_out_stay_where_they_are(
    stores: Stores, break_at: Any
) -> None:
    land(stores, (DATA / "flights_broken_row.csv").read_bytes())
    [result] = ingest_dataset(SPEC, stores)
    break_at(arrivals.kept(result, stores), ZeroDivisionError("division by zero"))
    release(result, stores, "try again")
    assert stores.ledger.releasing(result)
    for _ in range(faults.TRIES - 1):
        ingest_dataset(SPEC, stores)
    after = find(result.name, stores)
    assert not stores.ledger.releasing(after)
    assert (after.state, after.silver, after.quarantined) == (BatchState.ARCHIVED, 29, 1)
    assert "ZeroDivisionError" in str(after.reason)
    assert ingest_dataset(SPEC, stores) == []


def test_a_file_that_vanishes_or_changes_does_not_stop_the_others(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, gone = three(stores), land(stores, b"".join(LINES[:3]), "flights_0.csv")
    real = stage.discover

    def discovered(*arguments: Any) -> Any:
        found = real(*arguments)
        gone.unlink()
        land(stores, BAD + LINES[-1], path.name)
        return found

    monkeypatch.setattr(stage, "discover", discovered)
    results = {result.name: result for result in ingest_dataset(SPEC, stores)}
    assert [results[f"flights_{n}.csv"].state.value for n in (0, 1, 2, 3)] == [
        "seen",
        "archived",
        "seen",
        "archived",
    ]
    assert "vanished" in str(results["flights_0.csv"].reason)
    assert "changed" in str(results["flights_2.csv"].reason)


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_takes_an_ended_files_name_does_not_stop_the_others(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path, real = three(stores), stage.put_away

    def put_away(batch: Any, shared: Stores) -> None:
        if batch.name == path.name and path.is_file() and not path.is_symlink():
            path.unlink()
            path.mkdir() if kind == "folder" else path.symlink_to("/etc/hostname")
        real(batch, shared)

    monkeypatch.setattr(stage, "put_away", put_away)
    assert [result.state for result in ingest_dataset(SPEC, stores)] == [BatchState.ARCHIVED] * 3
    assert path.is_dir() if kind == "folder" else path.is_symlink()
    assert ingest_dataset(SPEC, stores) == []


def test_a_file_that_cannot_even_be_looked_at_does_not_stop_the_others(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = three(stores), arrivals.digest_of

    def digest(asked: Path) -> str:
        if asked == path:
            raise SystemError("null argument to internal routine")
        return real(asked)

    monkeypatch.setattr(arrivals, "digest_of", digest)
    assert [result.name for result in ingest_dataset(SPEC, stores)] == ["flights_1.csv", "flights_3.csv"]
    [(name, reason)] = stores.ledger.left_unopened("flights")
    assert (name, "SystemError" in reason) == (path.name, True)


@pytest.mark.parametrize("error", [EvergreenError("mend its suite"), TypeError("a fault of ours")])
def test_the_next_dataset_is_taken_in_although_one_is_broken(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    land(stores, GOOD)
    real = schema.apply

    def apply(spec: Any, shared: Stores) -> None:
        if spec.name == "airports":
            raise error
        real(spec, shared)

    monkeypatch.setattr(schema, "apply", apply)
    done = CliRunner().invoke(app, ["ingest", "--json"])
    assert done.exit_code == 1
    assert [result["silver"] for result in json.loads(done.stdout)] == [30]
    assert "airports: " in done.stderr
    assert str(error) in done.stderr


def test_the_command_says_that_a_file_waits_and_does_not_end_well(stores: Stores, break_at: Any) -> None:
    path = three(stores)
    break_at(path, OverflowError("date value out of range"))
    done = CliRunner().invoke(app, ["ingest"])
    assert done.exit_code == 1
    said = " ".join(done.stdout.split())
    assert "flights_2.csv: seen" in said
    assert "a fault of ours: OverflowError" in said
    assert "flights_3.csv: archived" in said


def test_a_run_in_which_only_a_fault_happened_fails_and_one_with_new_rows_does_not() -> None:
    fault = {"name": "f.csv", "state": "seen", "silver": 0, "reason": "a fault of ours: KeyError: x"}
    waits = fault | {"reason": "f.csv changed while it was read"}
    something_new("flights", [fault, fault | {"silver": 3, "state": "archived", "reason": None}])
    with pytest.raises(EvergreenError, match=r"f\.csv: a fault of ours") as told:
        something_new("flights", [waits, fault])
    assert not isinstance(told.value, TransientError)
    for results in ([], [waits]):
        with pytest.raises(EvergreenError, match="no new row of flights"):
            something_new("flights", results)


def test_what_an_earlier_try_ended_is_told_by_the_next(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime

    from pipelines.loop import steps

    monkeypatch.setattr("pipelines.loop.steps.stores", lambda: stores)
    land(stores, BAD, "flights_0.csv")
    assert steps.ingest("flights")
    due = datetime.now(UTC).isoformat()
    land(stores, GOOD)
    land(stores, (DATA / "flights_missing_column.csv").read_bytes(), "flights_2.csv")
    assert len(ingest_dataset(dataset("flights"), stores)) == 2
    assert steps.ingest("flights") == []
    told = steps.ingest("flights", due)
    assert [(each["name"], each["state"]) for each in told] == [
        ("flights_1.csv", "archived"),
        ("flights_2.csv", "refused"),
    ]
    steps.something_new("flights", told)
