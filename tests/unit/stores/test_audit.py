"""Rules of the audit log: what was entered stays as it was, or it is found."""

import json
import multiprocessing
import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.contracts import EvergreenError
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.audit.chain import Head
from pipelines.stores.audit.export import export, head_of, verify_file
from pipelines.stores.audit.log import AUDIT, Audit, Said

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
ENTRIES = 8
COLUMNS = [column.name for column in AUDIT.columns]


@pytest.fixture
def log(stores: Stores) -> Audit:
    """A log of eight entries."""
    for number in range(ENTRIES):
        at = AT + timedelta(hours=number)
        once = f"o{number}" if number % 2 else None
        stores.audit.append(
            at, "ada", "train", f"model:m@{number % 3}", f"because {number}", {"n": number}, once
        )
    assert stores.audit.verify() == []
    return stores.audit


def sql(stores: Stores, *statements: str) -> None:
    """What somebody who holds the database, but not the key, may do to it."""
    with sqlite3.connect(stores.settings.home / "evergreen.db") as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount, statement
    connection.close()


def test_entries_come_back_in_order_and_as_they_were_said(log: Audit) -> None:
    found = log.entries()
    assert [entry.number for entry in found] == list(range(1, ENTRIES + 1))
    assert (found[3].who, found[3].why, found[3].evidence, found[3].once) == (
        "ada",
        "because 3",
        {"n": 3},
        "o3",
    )
    assert [e.number for e in log.entries(subject="model:m@1")] == [2, 5, 8]
    assert [e.number for e in log.entries(limit=2)] == [7, 8]
    assert [e.number for e in log.entries(since=AT + timedelta(hours=5), limit=2)] == [7, 8]
    assert log.entries(action="promote") == []


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("number", [1, 4, ENTRIES])
def test_an_edit_of_any_column_of_any_entry_is_found(
    stores: Stores, log: Audit, column: str, number: int
) -> None:
    edit = "number + 100" if column == "number" else f"coalesce({column}, '') || 'x'"
    sql(stores, f"UPDATE audit SET {column} = {edit} WHERE number = {number}")
    assert log.verify()


@pytest.mark.parametrize("value", ["NULL", "x'00ff'", "''"])
def test_a_value_of_another_kind_is_found_and_told_without_a_traceback(
    stores: Stores, log: Audit, value: str
) -> None:
    sql(stores, f"UPDATE audit SET once = {value} WHERE number = 4")
    assert log.verify()


def test_text_that_is_none_is_found_and_told_without_a_traceback(stores: Stores, log: Audit) -> None:
    sql(stores, "UPDATE audit SET why = CAST(x'ff' AS TEXT) WHERE number = 4")
    assert any("cannot be read" in str(finding) for finding in log.verify())


@pytest.mark.parametrize(
    "statements",
    [
        ["DELETE FROM audit WHERE number = 1"],
        ["DELETE FROM audit WHERE number = 4"],
        ["DELETE FROM audit WHERE number <= 3"],
        [f"DELETE FROM audit WHERE number = {ENTRIES}"],
        ["DELETE FROM audit WHERE number > 2"],
        ["DELETE FROM audit"],
        ["DELETE FROM audit WHERE number = 4", "UPDATE audit SET number = number - 1 WHERE number > 4"],
        ["UPDATE audit SET number = -4 WHERE number = 4", "UPDATE audit SET number = 4 WHERE number = 5",
         "UPDATE audit SET number = 5 WHERE number = -4"],
        ["INSERT INTO audit SELECT number + 5, at, who, action, subject, why, evidence, NULL, chained FROM audit"
         " WHERE number = 4"],
        ["INSERT INTO audit SELECT 0, at, who, action, subject, why, evidence, NULL, chained FROM audit"
         " WHERE number = 1"],
        ["UPDATE audit SET (why, evidence) = ('because 0', '{}') WHERE number = 5"],
    ],
)  # fmt: skip
def test_entries_deleted_inserted_duplicated_or_reordered_are_found(
    stores: Stores, log: Audit, statements: list[str]
) -> None:
    sql(stores, *statements)
    assert log.verify()


def test_a_dropped_table_is_found_although_it_is_made_anew(stores: Stores, log: Audit) -> None:
    with sqlite3.connect(stores.settings.home / "evergreen.db") as connection:
        connection.execute("DROP TABLE audit")
    connection.close()
    [finding] = Stores(stores.settings).audit.verify()
    assert finding.what == f"entries 1 to {ENTRIES} are gone from the end"


def test_a_cut_log_is_still_found_after_new_entries_have_come(stores: Stores, log: Audit) -> None:
    """An append that moved the anchor on would cover up what was cut off before it."""
    sql(stores, f"DELETE FROM audit WHERE number > {ENTRIES - 2}")
    for _ in range(5):
        log.append(AT, "ada", "train", "model:m")
    assert len(log.entries()) == ENTRIES + 3
    assert any("not the entry that was there" in str(finding) for finding in log.verify())


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"nonsense"])
def test_an_anchor_that_is_gone_or_none_is_found_before_and_after_the_next_entry(
    log: Audit, content: bytes | None
) -> None:
    log.anchor.unlink() if content is None else log.anchor.write_bytes(content)
    assert log.verify()
    log.append(AT, "ada", "train", "model:m")
    assert log.verify()


def test_an_edit_of_any_byte_of_the_anchor_is_found(log: Audit) -> None:
    before = log.anchor.read_bytes()
    assert len(before) > 150
    for place in range(len(before)):
        log.anchor.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
        assert log.verify(), place
    log.anchor.write_bytes(before + b" ")
    assert log.verify()
    log.anchor.write_bytes(before)
    assert log.verify() == []


def test_an_older_anchor_does_not_hide_a_cut_from_a_witness(stores: Stores, log: Audit) -> None:
    """Table and anchor put back together to an earlier moment fit: only a head kept elsewhere shows it."""
    older, head = log.anchor.read_bytes(), None
    log.append(AT, "ada", "promote", "champion:m")
    head = log.head
    sql(stores, f"DELETE FROM audit WHERE number > {ENTRIES}")
    log.anchor.write_bytes(older)
    assert log.verify() == []
    [finding] = log.verify([head])
    assert "gone from the end" in str(finding)


def test_of_two_witnesses_of_one_entry_each_is_heard(log: Audit) -> None:
    forged = Head(log.head.number, "f" * 64)
    assert log.verify([log.head]) == []
    assert log.verify([forged, log.head])
    assert log.verify([log.head, forged])
    assert log.verify([Head(0, "f" * 64)])


def test_a_log_emptied_with_its_anchor_is_shown_by_a_witness_alone(stores: Stores, log: Audit) -> None:
    head = log.head
    sql(stores, "DELETE FROM audit")
    log.anchor.unlink()
    assert log.verify() == []
    assert log.verify([head])
    log.append(AT, "ada", "train", "model:m")
    assert log.verify([head])


def test_another_deployments_log_is_found(stores: Stores, log: Audit, tmp_path: Path) -> None:
    other = Stores(Settings(_env_file=None, home=tmp_path / "other"))
    for _ in range(ENTRIES):
        other.audit.append(AT, "eve", "train", "model:m")
    with sqlite3.connect(stores.settings.home / "evergreen.db") as connection:
        connection.execute(f"ATTACH '{other.settings.home / 'evergreen.db'}' AS other")
        connection.execute("DELETE FROM audit")
        connection.execute("INSERT INTO audit SELECT * FROM other.audit")
    connection.close()
    shutil.copy(other.audit.anchor, log.anchor)
    assert any(
        "another log, or the key was replaced" in str(f) for f in Stores(stores.settings).audit.verify()
    )


def test_a_key_that_was_replaced_emptied_or_removed_is_found(stores: Stores, log: Audit) -> None:
    key = stores.keys.folder / "audit.key"
    key.write_bytes(os.urandom(32))
    assert any("key was replaced" in str(finding) for finding in Stores(stores.settings).audit.verify())
    key.write_bytes(b"")
    assert any("no key" in str(finding) for finding in Stores(stores.settings).audit.verify())
    key.unlink()
    assert any(
        "key" in str(finding) and "gone" in str(finding) for finding in Stores(stores.settings).audit.verify()
    )
    with pytest.raises(EvergreenError, match="put it back"):
        Stores(stores.settings).audit.append(AT, "ada", "train", "model:m")
    assert not key.exists()


def test_what_is_said_once_is_entered_once(log: Audit) -> None:
    assert not log.append(AT, "ada", "train", "model:m", once="o1")
    said = [Said(AT, "ada", "train", "model:m", once="new")] * 2 + [Said(AT, "ada", "train", "model:m")] * 2
    assert log.extend(said) == 3
    assert log.extend([]) == 0
    assert len(log.entries()) == ENTRIES + 3
    assert log.verify() == []


def test_an_entry_whose_anchor_was_cut_off_by_a_crash_is_anchored_when_it_is_said_again(
    stores: Stores, log: Audit
) -> None:
    """Between the commit and the anchor a process may die; the retry finds its entry there."""
    before = log.anchor.read_bytes()
    log.append(AT, "ada", "train", "model:m", once="late")
    log.anchor.write_bytes(before)
    assert log.verify() == []
    assert not log.append(AT, "ada", "train", "model:m", once="late")
    sql(stores, "DELETE FROM audit WHERE once = 'late'")
    assert log.verify()


def test_texts_that_a_database_would_not_keep_are_kept_readable(log: Audit) -> None:
    log.append(
        AT, "a\0b", "train", "model:\udcff", "\ud800", {"name": "\udcff", "nan": float("nan")}, once="\udcfe"
    )
    assert log.entries(limit=1)[0].subject == "model:\\udcff"
    assert log.verify() == []


def _append(home: Path, worker: int) -> None:
    audit = Stores(Settings(_env_file=None, home=home)).audit
    for number in range(10):
        audit.append(AT, f"worker {worker}", "train", "model:m", once=f"{number % 5} of {worker % 2}")


def test_processes_and_threads_that_append_at_once_make_one_chain(stores: Stores) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append, args=(stores.settings.home, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: stores.audit.append(AT, "ada", "train", f"model:{n}"), range(20)))
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(stores.audit.entries()) == 20 + 10
    assert stores.audit.verify() == []


def _append_for_ever(home: Path, sender: "multiprocessing.connection.Connection") -> None:
    audit, number = Stores(Settings(_env_file=None, home=home)).audit, 0
    while True:
        audit.append(AT, "ada", "train", "model:m", once=str(number))
        sender.send(number)
        number += 1


def test_every_entry_that_returned_survives_a_kill_and_the_log_stays_whole(stores: Stores) -> None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_append_for_ever, args=(stores.settings.home, sender), daemon=True)
    worker.start()
    told = {receiver.recv() for _ in range(25)}
    worker.kill()
    worker.join()
    sender.close()
    assert len(told) == 25
    assert {str(number) for number in told} <= {entry.once for entry in stores.audit.entries()}
    assert stores.audit.verify() == []


def test_a_log_that_was_cut_goes_on_only_when_a_person_says_why(stores: Stores, log: Audit) -> None:
    with pytest.raises(EvergreenError, match="nothing is wrong"):
        log.resume(AT, "ada", "for no reason")
    sql(stores, f"DELETE FROM audit WHERE number > {ENTRIES - 2}")
    log.resume(AT, "ada", "the backup of last night was restored")
    assert log.verify() == []
    last = log.entries()[-1]
    assert (last.action, last.who) == ("resume", "ada")
    assert "gone from the end" in last.evidence["found"][0]


def test_nothing_mends_an_entry_that_was_changed(stores: Stores, log: Audit) -> None:
    sql(stores, "UPDATE audit SET who = 'eve' WHERE number = 4")
    with pytest.raises(EvergreenError, match="were changed"):
        log.resume(AT, "eve", "never mind")


def test_an_export_is_verified_with_the_key_alone(stores: Stores, log: Audit, tmp_path: Path) -> None:
    key, file = stores.keys.folder / "audit.key", tmp_path / "log.jsonl"
    assert export(log, file) == log.head == head_of(file)
    assert verify_file(file, key) == (log.head, [])
    lines = file.read_text().splitlines()
    assert len(lines) == ENTRIES + 1
    edited = json.loads(lines[2]) | {"who": "eve"}
    for broken in (
        lines[1:],
        lines[:-1],
        lines[:-2] + lines[-1:],
        [*lines[:2], json.dumps(edited), *lines[3:]],
    ):
        file.write_text("\n".join(broken))
        assert verify_file(file, key)[1]
    file.write_text("nonsense")
    with pytest.raises(EvergreenError, match="line 1"):
        verify_file(file, key)


def test_a_head_is_a_witness_only_in_its_own_form() -> None:
    head = Head(3, "a" * 64)
    assert Head.of(str(head)) == head
    with pytest.raises(EvergreenError, match="no head"):
        Head.of("3:abc")
