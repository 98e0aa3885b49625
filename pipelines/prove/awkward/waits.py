"""What is not yet a file of ours: it stays where it lies, and nobody has heard of it."""

import gzip
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.catalog import DatasetSpec
from pipelines.prove.awkward.bench import LONG_AGO, Bench, Case, holds, is_in, must, one
from pipelines.prove.awkward.sheets import Sheet


def _waits(bench: Bench, sheet: Sheet, path: Path, name: str, why: str) -> None:
    """Promises that the file lies where it lay, that nobody took it, and that the ledger has no row of it."""
    results = [result for result in bench.take(sheet.spec) if result.name in (name, path.name)]
    must(not results, f"{path.name!r} was taken although {why}")
    must(path.exists(), f"{path.name!r} was moved although {why}")
    known = [batch.name for batch in bench.batches(sheet.spec) if batch.name in (name, path.name)]
    must(not known, f"{path.name!r} is in the ledger although {why}")


def then_taken(bench: Bench, sheet: Sheet, name: str) -> None:
    """Promises that the file is taken now."""
    result = one(bench.take(sheet.spec), name)
    must(is_in(result), f"{name!r} was refused: {result.reason}")
    holds(bench, sheet.spec, result, sheet.expected)


def _growing(bench: Bench) -> str:
    """A file that another process keeps appending to."""
    sheet = bench.sheet()
    name, whole = bench.name(sheet.spec), sheet.content
    path = bench.land(name, sheet.header, when=None)
    with _written(path, sheet.records, whole):
        _waits(bench, sheet, path, name, "it was growing")
    os.utime(path, (LONG_AGO, LONG_AGO))
    then_taken(bench, sheet, name)
    return "waited while it grew; then in"


@contextmanager
def _written(path: Path, records: list[bytes], whole: bytes) -> Iterator[None]:
    """Appends to the file until the block ends; then it is whole."""
    done, begun = threading.Event(), threading.Event()

    def write() -> None:
        with path.open("ab") as file:
            while not done.wait(0.01):
                file.write(records[0])
                file.flush()
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait(10)
    try:
        yield
    finally:
        done.set()
        writer.join()
        path.write_bytes(whole)


def _renamed_later(make: Callable[[str], str]) -> Callable[[Bench], str]:
    """A case of a file that waits under one name and is taken once renamed."""

    def act(bench: Bench) -> str:
        for _ in range(2):
            sheet = bench.sheet()
            name = bench.name(sheet.spec, bench.dice.choice([".csv", ".csv.gz"]))
            content = gzip.compress(sheet.content) if name.endswith(".gz") else sheet.content
            path = bench.land(make(name), content)
            _waits(bench, sheet, path, name, "its name says that it is unfinished")
            path.rename(bench.landing / name)
            then_taken(bench, sheet, name)
        return f"{path.name} waited; renamed, it is in"

    return act


def _future(bench: Bench) -> str:
    for ahead in (5.0, 3600.0, 4e8):
        sheet = bench.sheet()
        name = bench.name(sheet.spec)
        path = bench.land(name, sheet.content, when=os.stat(bench.landing).st_mtime + ahead + 5)
        _waits(bench, sheet, path, name, f"its time lies {ahead:.0f} s ahead")
        os.utime(path, (LONG_AGO, LONG_AGO))
        then_taken(bench, sheet, name)
    return "waited for its time; then in"


def _with_manifest(sheet: Sheet) -> DatasetSpec:
    return sheet.spec.model_copy(update={"manifest": True})


def _manifest(bench: Bench, wrong: list[bytes | None]) -> str:
    """A file waits through each of these manifests and is taken with the right one."""
    sheet = bench.sheet()
    sheet = Sheet(_with_manifest(sheet), sheet.rows)
    name, content = bench.name(sheet.spec), sheet.content
    path, beside = bench.land(name, content), bench.landing / f"{name}.manifest.json"
    for text in wrong:
        if text is not None:
            bench.land(beside.name, text)
        _waits(bench, sheet, path, name, f"its manifest is {'missing' if text is None else text!r}")
        beside.unlink(missing_ok=True)
    right = {"size": len(content)}
    if bench.dice.random() < 0.5:
        right["sha256"] = hashlib.sha256(content).hexdigest()  # type: ignore[assignment]
    bench.land(beside.name, json.dumps(right).encode())
    then_taken(bench, sheet, name)
    must(not beside.exists(), "the file is in, and its manifest lies in the landing folder still")
    return f"waited {len(wrong)} times; with the right manifest, in"


def _manifest_missing(bench: Bench) -> str:
    return _manifest(bench, [None])


def _manifest_other(bench: Bench) -> str:
    texts: list[bytes | None] = [
        b'{"size": 1}',
        b'{"size": 123456789}',
        b'{"size": "x"}',
        b"{",
        b"[]",
        b"{}",
        b"",
    ]
    return _manifest(bench, bench.dice.sample(texts, 4))


CASES = [
    Case("still growing", "WAIT", _growing),
    Case(".tmp", "WAIT", _renamed_later("{}.tmp".format)),
    Case(".part", "WAIT", _renamed_later("{}.part".format)),
    Case("dotfile", "WAIT", _renamed_later(".{}".format)),
    Case("mtime in the future", "WAIT", _future),
    Case("manifest declared and missing", "WAIT", _manifest_missing),
    Case("manifest says another size", "WAIT", _manifest_other),
]
