"""Each kind of place forgets persons down to the last byte, and nobody else."""

import fcntl
import gzip
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from pipelines.erasure.databases import Database
from pipelines.erasure.delta import Table
from pipelines.erasure.files import Files
from pipelines.erasure.kept import Kept
from pipelines.erasure.subjects import Sought
from pipelines.places import sqlite_url
from pipelines.prove.erasure.residues import residues
from pipelines.settings import Settings
from pipelines.stores.erasures import Erasures
from pipelines.stores.purging import purged
from pipelines.stores.shared.objects import Objects
from pipelines.stores.tables import Tables

NOW = datetime(2026, 12, 1, tzinfo=UTC)
THEIRS = Sought({"customer_id": frozenset({"C00003", "C00007"})})
GONE = ("C00003", "C00007")


@pytest.fixture
def book(tmp_path: Path) -> Erasures:
    return Erasures(Settings(_env_file=None, home=tmp_path, keys=None))  # type: ignore[call-arg]


def _table(folder: Path, commits: int = 4) -> str:
    for n in range(commits):
        rows = pa.table({
            "customer_id": [f"C{c:05d}" for c in range(n, n + 10)],
            "amount": [float(c) for c in range(10)],
        })  # fmt: skip
        txn = CommitProperties(app_transactions=[Transaction(f"file {n}", n)])
        write_deltalake(str(folder), rows, mode="append", commit_properties=txn)
    return str(folder)


def _others(uri: str) -> list[tuple[str, float]]:
    rows = DeltaTable(uri).to_pyarrow_table().to_pylist()
    return sorted((r["customer_id"], r["amount"]) for r in rows if r["customer_id"] not in GONE)


def test_a_table_forgets_them_in_every_version_and_keeps_its_transactions(
    tmp_path: Path, book: Erasures
) -> None:
    uri = _table(tmp_path / "lake" / "silver" / "x")
    table, before = Table("silver/x", uri, book), _others(uri)
    assert table.find(THEIRS).rows == 8
    assert len(residues(tmp_path, GONE)) > 4
    table.remove(THEIRS, NOW)
    assert residues(tmp_path, GONE) == {}
    assert _others(uri) == before
    assert DeltaTable(uri).transaction_version("file 3") == 3
    assert not table.find(THEIRS)
    of = pc.field("customer_id") == "C00004"
    assert Tables(str(tmp_path / "lake")).dataset("silver", "x").to_table(filter=of).num_rows == 4  # type: ignore[union-attr]
    write_deltalake(uri, pa.table({"customer_id": ["C00099"], "amount": [1.0]}), mode="append")
    assert len(_others(uri)) == len(before) + 1
    assert book.unreadable("silver/x", 3) == NOW
    assert book.unreadable("silver/x", int(DeltaTable(uri).version())) is None


@pytest.mark.parametrize("point", ["vacuum", "create_checkpoint", "update_incremental"])
def test_a_table_whose_erasure_ended_midway_is_finished_by_the_next(
    tmp_path: Path, book: Erasures, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    uri = _table(tmp_path / "lake" / "silver" / "x")
    before = _others(uri)
    with monkeypatch.context() as broken:
        broken.setattr(DeltaTable, point, _killed)
        with pytest.raises(KeyboardInterrupt):
            Table("silver/x", uri, book).remove(THEIRS, NOW)
    assert residues(tmp_path, GONE)
    Table("silver/x", uri, book).remove(THEIRS, NOW)
    assert residues(tmp_path, GONE) == {}
    assert _others(uri) == before


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_rows_that_tell_of_them_in_json_or_as_they_landed_go_too(tmp_path: Path, book: Erasures) -> None:
    folder = tmp_path / "lake" / "quarantine" / "x"
    raw = [f"{n},C{n:05d},much".encode() for n in range(10)]
    write_deltalake(str(folder), pa.table({"line": list(range(10)), "raw": pa.array(raw, pa.binary())}))
    Table("quarantine/x", str(folder), book, ("n", "customer_id", "amount")).remove(THEIRS, NOW)
    assert residues(tmp_path, GONE) == {}
    assert DeltaTable(str(folder)).to_pyarrow_table()["line"].to_pylist() == [0, 1, 2, 4, 5, 6, 8, 9]


def test_purging_twice_changes_no_row(tmp_path: Path) -> None:
    uri = _table(tmp_path / "lake" / "silver" / "x")
    before = _others(uri)
    purged(DeltaTable(uri))
    purged(DeltaTable(uri))
    assert _others(uri) == before
    assert DeltaTable(uri).transaction_version("file 0") == 0


def test_a_database_forgets_deleted_rows_and_its_journal_and_strikes_names_out_of_texts(
    tmp_path: Path,
) -> None:
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as open_, open_:
        open_.execute("pragma journal_mode = wal")
        open_.execute("create table online (customer_id not null, x double, primary key (customer_id))")
        open_.execute("create table notes (id integer primary key, said text, more json)")
        open_.execute("create table predictions (prediction_id text primary key, entities json)")
        open_.execute("create table audit (number integer primary key, evidence text)")
        for n in range(50):
            name = f"C{n:05d}"
            open_.execute("insert into online values (?, 1.5)", [name])
            open_.execute(
                "insert into notes values (?, ?, ?)", [n, f"line 3: {name} is odd", json.dumps({"is": name})]
            )
            open_.execute(
                "insert into predictions values (?, ?)", [str(n), json.dumps({"customer_id": name})]
            )
    reader = sqlite3.connect(path)  # keeps the journal from being written back when others close
    reader.execute("select count(*) from notes").fetchone()
    base = Database("some", sqlite_url(path))
    assert base.find(THEIRS).rows == 6
    base.remove(THEIRS, NOW)
    reader.close()
    assert residues(tmp_path, GONE) == {}
    with closing(sqlite3.connect(path)) as open_:
        assert open_.execute("select count(*) from online").fetchone() == (48,)
        assert open_.execute("select count(*) from predictions").fetchone() == (48,)
        assert open_.execute("select said, more from notes where id = 3").fetchone() == (
            "line 3: [erased] is odd", '{"is": "[erased]"}',
        )  # fmt: skip
        assert open_.execute("select said from notes where id = 4").fetchone() == ("line 3: C00004 is odd",)


def test_files_of_each_form_keep_the_bytes_of_others(tmp_path: Path, book: Erasures) -> None:
    lines = ["customer_id,note\n", *(f'C{n:05d},"a,\n""b"""\n' for n in range(10))]
    kept = "".join(line for line in lines if line[:6] not in GONE)
    (tmp_path / "a.csv").write_text("".join(lines))
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress("".join(lines).encode()))
    rows = pa.table({"customer_id": [f"C{n:05d}" for n in range(10)], "x": range(10)})
    pq.write_table(rows, tmp_path / "c.parquet")
    pq.write_table(rows, tmp_path / "background.parquet")
    (tmp_path / "d.json").write_text(json.dumps({"unexpected": ["C00003", "C00004"], "n": 3}))
    (tmp_path / "e.html").write_text("<td>C00007<td>C00008")
    (tmp_path / "f.jsonl").write_text('{"customer_id": "C00003"}\n{"customer_id": "C00004"}\n')
    (tmp_path / "g.log").write_bytes("é C00003 and C00004\n".encode())
    writing = (tmp_path / "g.log").open("ab", buffering=0)
    (tmp_path / "h.jsonl").write_text('{"customer_id": "C00003"}\n')
    held = (tmp_path / "h.jsonl").open("rb")
    fcntl.flock(held, fcntl.LOCK_EX)
    (tmp_path / "model.skops").write_bytes(b"\x00C00003\x00")
    place = Files(
        "files", tmp_path, lambda path: path.suffix == ".key" or path.name == "erasures.jsonl", book
    )
    place.remove(THEIRS, NOW)
    writing.write(b"goes on\n")
    assert residues(tmp_path, GONE) == {"h.jsonl": 1, "model.skops": 1}
    assert [path.name for path in place.unchangeable(THEIRS)] == ["h.jsonl", "model.skops"]
    held.close()
    place.remove(THEIRS, NOW)
    assert residues(tmp_path, GONE) == {"model.skops": 1}
    assert (tmp_path / "g.log").read_text() == "é ****** and C00004\ngoes on\n"
    assert (tmp_path / "a.csv").read_text() == kept
    assert gzip.decompress((tmp_path / "b.csv.gz").read_bytes()).decode() == kept
    assert pq.read_table(tmp_path / "c.parquet")["x"].to_pylist() == [0, 1, 2, 4, 5, 6, 8, 9]
    assert not (tmp_path / "background.parquet").exists()
    assert json.loads((tmp_path / "d.json").read_text()) == {"unexpected": ["[erased]", "C00004"], "n": 3}
    assert (tmp_path / "f.jsonl").read_text() == '{"customer_id": "C00004"}\n'


def test_files_in_a_storage_forget_them_and_the_lake_in_it_is_left_to_its_tables(
    tmp_path: Path, book: Erasures
) -> None:
    storage = Objects(str(tmp_path / "storage"))
    lines = "".join(f"{n},C{n:05d},much\n" for n in range(10))
    for name in ("archive/x/digest_x.csv", "refused/x/digest_x.csv", "lake/silver/x/part.csv"):
        storage.write(name, f"n,customer_id,amount\n{lines}".encode())
    storage.write("decisions/m/1.json", b'{"who": "C00050"}')
    place = Kept("files in the storage", storage, book, {"lake"})
    assert place.find(THEIRS).rows == 4
    place.remove(THEIRS, NOW)
    assert not place.find(THEIRS)
    left = storage.read("archive/x/digest_x.csv") or b""
    assert [line.split(b",")[0] for line in left.splitlines()[1:]] == [
        b"0",
        b"1",
        b"2",
        b"4",
        b"5",
        b"6",
        b"8",
        b"9",
    ]
    assert b"C00003" in (storage.read("lake/silver/x/part.csv") or b"")
    assert storage.read("decisions/m/1.json") == b'{"who": "C00050"}'
    assert place.said("customer_id") >= {"C00000", "C00009"}
    assert place.unchangeable(THEIRS) == []
