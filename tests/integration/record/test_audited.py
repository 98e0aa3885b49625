"""Every stage's decisions are in the audit log, once each; and the whole record is held against itself."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import catalog
from pipelines.acting import acting, acting_as
from pipelines.cli import app
from pipelines.contracts import BatchState, Cause, IngestResult, MonitorReport, TransientError
from pipelines.features import compute
from pipelines.ingestion import quarantine
from pipelines.ingestion.ingest import ingest, ingest_dataset
from pipelines.monitoring.monitor import signal
from pipelines.prove import audit as proof
from pipelines.prove.worlds import sandbox
from pipelines.record import registered_files
from pipelines.record.verification import verify
from pipelines.stores import Stores
from pipelines.stores.audit import events
from tests.integration.conftest import AS_OF
from tests.integration.ingestion.test_ingest import GOOD, SPEC, land
from tests.retrainings import MODEL, copied, crowned
from tests.training_sets import spec

LATER = datetime.now(UTC) + timedelta(hours=1)
SECRET = "N-NOBODY-IS-TO-KNOW"


def told(stores: Stores) -> list[tuple[str, str]]:
    return [(entry.action, entry.subject) for entry in stores.audit.entries()]


def test_a_file_taken_in_is_entered_once_with_where_its_rows_went(stores: Stores) -> None:
    land(stores, GOOD)
    [result] = ingest_dataset(SPEC, stores)
    ingest_dataset(SPEC, stores)
    [entry] = stores.audit.entries()
    assert (entry.action, entry.subject) == ("commit", f"batch:flights/{result.digest}")
    assert (entry.evidence["file"], entry.evidence["silver"], entry.who) == (result.name, 30, acting())
    assert verify(stores, LATER) == []


def test_a_refused_file_is_entered_without_what_it_held(stores: Stores) -> None:
    header, *rows = GOOD.splitlines()
    land(stores, b"\n".join([header, *(row.replace(b"2013", SECRET.encode()) for row in rows)]))
    [result] = ingest_dataset(SPEC, stores)
    assert result.state is BatchState.REFUSED
    assert SECRET in (result.reason or ""), "or this shows nothing"
    [entry] = stores.audit.entries()
    assert entry.action == "refuse"
    assert entry.why
    assert SECRET not in json.dumps(list(stores.audit.rows()))


def test_what_a_person_releases_or_discards_is_entered_with_who_and_why(stores: Stores) -> None:
    land(stores, b"nonsense\n")
    [refused] = ingest_dataset(SPEC, stores)
    quarantine.release(refused, stores, "look again")
    quarantine.discard(stores.ledger.batches()[0], stores, "of no use")
    assert [action for action, _ in told(stores)] == ["refuse", "release", "refuse", "discard"]
    assert [e.why for e in stores.audit.entries() if e.action in ("release", "discard")] == [
        "look again",
        "of no use",
    ]
    assert verify(stores, LATER) == []


def test_a_decision_whose_run_died_before_it_told_the_log_is_entered_by_the_next_run(stores: Stores) -> None:
    stores.ledger.record(IngestResult("d" * 64, "flights", "flights_1.csv", BatchState.COMMITTED, 3, 3))
    assert stores.audit.entries() == []
    assert any("the ledger" in str(finding) for finding in verify(stores, LATER))
    assert verify(stores, datetime.now(UTC)) == [], "a run that is at work is not called a fault"
    for _ in range(2):
        ingest_dataset(SPEC, stores)
    assert told(stores) == [("commit", f"batch:flights/{'d' * 64}")]
    assert verify(stores, LATER) == []


def test_a_run_that_fails_in_the_middle_has_told_of_what_it_took_in(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(stores, GOOD)
    land(stores, GOOD[:-50], "flights_2.csv")
    real = ingest.__globals__["put_away"]

    def broken(batch: IngestResult, shared: Stores) -> None:
        if batch.name == "flights_2.csv":
            raise OSError("the machine burns")
        real(batch, shared)

    monkeypatch.setitem(ingest.__globals__, "put_away", broken)
    with pytest.raises(TransientError, match="burns"):
        ingest_dataset(SPEC, stores)
    assert len(stores.audit.entries()) == 2


def test_many_batches_are_entered_in_few_writes(stores: Stores) -> None:
    with events.telling(stores, "flights") as tell:
        for number in range(events.AT_ONCE + 3):
            digest = f"{number:064x}"
            tell(digest)
            stores.ledger.record(IngestResult(digest, "flights", f"{number}.csv", BatchState.COMMITTED))
    assert len(stores.audit.entries()) == events.AT_ONCE + 3


def test_computed_features_are_entered_once_and_nothing_new_is_not(flown: Stores) -> None:
    flown = sandbox(flown.settings.home)
    before = len(flown.audit.entries())
    assert before > 0
    run = compute.compute(AS_OF, flown)
    compute.compute(AS_OF, flown)
    [entry] = flown.audit.entries(subject="features")
    assert entry.evidence["rows"] == run.rows
    assert entry.evidence["versions"] == run.versions


def test_a_monitors_signal_is_entered_once(stores: Stores) -> None:
    report = MonitorReport(MODEL, AS_OF, True, 0.5, {}, 1, 1, {}, "", "", version=3)
    for _ in range(2):
        signal(report, LATER, stores)
    [entry] = stores.audit.entries()
    assert (entry.action, entry.subject, entry.evidence["cause"]) == (
        "signal",
        f"model:{MODEL}@3",
        Cause.DRIFT,
    )


def test_who_acts_is_the_person_or_the_run_behind_it(stores: Stores) -> None:
    assert stores.who.startswith("cli: ")
    with acting_as("airflow: ingest_flights/manual for ada"):
        assert Stores(stores.settings).who == "airflow: ingest_flights/manual for ada"
    assert Stores(stores.settings).who == stores.who


@pytest.fixture
def kept(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """Stores whose version 1 is champion."""
    small = spec()
    monkeypatch.setattr(catalog, "model", lambda name: small)
    return copied(crowned(tmp_path_factory), tmp_path)


def test_a_training_leaves_its_whole_way_in_the_log_and_the_record_is_whole(kept: Stores) -> None:
    events.batches(kept, "flights")
    actions = [entry.action for entry in kept.audit.entries() if entry.action != "commit"]
    assert actions == ["train", "register", "gate", "intend", "pin", "promote"]
    assert verify(kept, LATER) == []


def test_the_command_line_says_whole_or_what_is_wrong(kept: Stores, tmp_path: Path) -> None:
    events.batches(kept, "flights")
    run, copy = CliRunner(), tmp_path / "copy.jsonl"
    whole = run.invoke(app, ["audit", "verify"])
    assert whole.exit_code == 0, whole.output
    assert str(kept.audit.head) in whole.stdout
    assert run.invoke(app, ["audit", "export", str(copy)]).exit_code == 0
    assert run.invoke(app, ["audit", "verify", "--file", str(copy)]).exit_code == 0
    assert run.invoke(app, ["audit", "verify", "--witness", str(copy)]).exit_code == 0
    shown = run.invoke(app, ["audit", "show", "--action", "promote"], env={"COLUMNS": "200"})
    assert f"champion:{MODEL}" in shown.stdout
    kept.tracking.tag(MODEL, 1, {"trigger": "somebody else's"})
    broken = run.invoke(app, ["audit", "verify"], env={"COLUMNS": "200"})
    assert broken.exit_code == 1
    assert "its tag trigger is not the one it was registered with" in broken.stdout
    assert run.invoke(app, ["audit", "verify", "--log-only"]).exit_code == 0


def test_keys_that_others_can_read_are_warned_of(kept: Stores) -> None:
    events.batches(kept, "flights")
    (kept.keys.folder / "audit.key").chmod(0o644)
    shown = CliRunner().invoke(app, ["audit", "verify"])
    assert shown.exit_code == 0
    assert "open to others" in shown.stderr


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a real history: versions promoted, overridden and rolled back."""
    home = tmp_path_factory.mktemp("audited").resolve()
    proof._history(home, lambda _: None)
    return home


def test_one_edit_of_each_kind_is_found(world: Path) -> None:
    found = proof.attacked(world, len(proof.KINDS), 0, lambda _: None)
    assert found.holds, found.failures
    assert sum(row["tried"] for row in found.rows[:-2]) == len(proof.KINDS)


def test_the_proof_does_not_hold_when_a_kind_of_edit_is_not_looked_for(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registered_files, "wrong", lambda *_: iter(()))
    found = proof.attacked(world, len(proof.KINDS), 1, lambda _: None)
    assert not found.holds
    assert any("model file" in failure for failure in found.failures)
