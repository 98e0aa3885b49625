"""What lands twice, late, at once or halfway: nothing is done twice and nothing is lost."""

import multiprocessing
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.catalog import REFERENCE, dataset, model
from pipelines.contracts import Batch, EvergreenError, IngestResult, TransientError
from pipelines.features import silver
from pipelines.ingestion.ingest import discover, ingest, ingest_dataset
from pipelines.prove.awkward.bench import LONG_AGO, Bench, Case, holds, is_in, local, must, one, taken
from pipelines.prove.awkward.rows import CHANGED, other_writing
from pipelines.prove.awkward.sheets import Sheet, spec_of, typed
from pipelines.stores import Stores

LATER = timedelta(days=20)
END = datetime(2099, 1, 1, tzinfo=UTC)


def _everything(bench: Bench, sheet: Sheet) -> tuple[Any, ...]:
    """All that ingestion keeps of a dataset, to be compared."""
    results = bench.batches(sheet.spec)
    rows = [bench.silver(sheet.spec, result.digest) for result in results]
    return [(r.digest, r.name, r.state.value, r.parsed, r.silver) for r in results], rows


def _again(bench: Bench, rename: bool) -> tuple[Sheet, str, str, IngestResult]:
    """Takes a file in, lands its bytes again, and promises that nothing changed."""
    sheet = bench.sheet()
    name = bench.name(sheet.spec)
    result = taken(bench, sheet.spec, name, sheet.content)
    before = _everything(bench, sheet)
    other = bench.name(sheet.spec, bench.dice.choice([".csv", ".csv.1"])) if rename else name
    for _ in range(2):
        path = bench.land(other, sheet.content)
        found = [each for each in bench.take(sheet.spec) if each.silver and each.digest != result.digest]
        must(not found, f"{other!r} was taken again: {found}")
        must(not path.exists(), f"{other!r} lies in the landing folder still")
        after = _everything(bench, sheet)
        must(after == before, f"the same bytes as {other!r} changed {before[0]} to {after[0]}")
    holds(bench, sheet.spec, result, sheet.expected)
    return sheet, name, other, result


def _same_name(bench: Bench) -> str:
    _, _, _, result = _again(bench, rename=False)
    return f"{result.silver} rows, landed three times, are in once"


def _new_name(bench: Bench) -> str:
    sheet, name, other, result = _again(bench, rename=True)
    names = bench.stores.ledger.names(result.digest, sheet.spec.name)
    must(
        set(names) == {name, other}, f"the ledger knows these bytes as {names}, not as {name!r} and {other!r}"
    )
    return f"{result.silver} rows are in once; the ledger has both names"


def _seen_as_of(bench: Bench, sheet: Sheet, moment: datetime) -> list[tuple[Any, ...]]:
    """The dataset as SQL sees it at a moment."""
    with silver.connect(bench.stores, [sheet.spec], moment) as connection:
        return sorted(connection.execute(f"from {sheet.spec.name}").fetchall(), key=repr)


def _correction(bench: Bench) -> str:
    """Corrections under the file's own name, known later and at the same moment, supersede what was known."""
    told = [_corrected(bench, later) for later in (LATER, *[timedelta(0)] * 6)]
    # Six at the same moment: an order that comes by chance will not hold six times.
    return f"earlier reads unchanged, both kept, the newest wins: {', '.join(told)}"


def _corrected(bench: Bench, later: timedelta) -> str:
    sheet = bench.sheet("flights", "weather", "orders")
    name, at = bench.name(sheet.spec), bench.dice.randrange(len(sheet.rows))
    first = taken(bench, sheet.spec, name, sheet.content)
    known = typed(sheet.spec, sheet.rows[at])[sheet.spec.available_at]
    earlier = known + later - timedelta(microseconds=1)
    before = _seen_as_of(bench, sheet, earlier)
    fixed = _fixed(sheet, sheet.rows[at], later)
    rows = [*sheet.rows[:at], fixed, *sheet.rows[at + 1 :]]
    second = taken(bench, sheet.spec, name, replace(sheet, rows=rows).content)
    counts = (second.silver, second.superseded)
    must(counts == (1, len(rows) - 1), f"one of {len(rows)} rows was corrected, and it says {second}")
    holds(bench, sheet.spec, first, sheet.expected)
    must(_seen_as_of(bench, sheet, earlier) == before, "a correction changed what was known before it")
    _wins(bench, sheet, fixed, later)
    return f"{sheet.spec.name} known {later.days} days later"


def _fixed(sheet: Sheet, row: list[str], later: timedelta) -> list[str]:
    column, known = sheet.at(CHANGED[sheet.spec.name]), sheet.at(sheet.spec.available_at)
    out = list(row)
    out[column] = next(text for text in ("41", "42") if text != row[column])
    if later:
        out[known] = (datetime.fromisoformat(row[known]) + later).isoformat()
    return out


def _wins(bench: Bench, sheet: Sheet, fixed: list[str], later: timedelta) -> None:
    """Promises that a read of today shows the corrected row and no other of its key."""
    wanted = typed(sheet.spec, fixed)
    keys = [sheet.at(key) for key in sheet.spec.key]
    naive = [v.replace(tzinfo=None) if isinstance(v, datetime) else v for v in wanted.values()]
    found = [row for row in _seen_as_of(bench, sheet, END) if all(row[k] == naive[k] for k in keys)]
    what = "known later" if later else "known at the same moment"
    must(found == [tuple(naive)], f"a correction {what} does not win: today's read has {found}, not {naive}")


def _duplicate(bench: Bench) -> str:
    """Equal rows count once, in one file and across files, however they are written."""
    sheet = bench.sheet()
    again = bench.dice.sample(sheet.rows, 5)
    twice = replace(
        sheet, rows=[*sheet.rows, *again[:3], *(other_writing(bench.dice, sheet, r) for r in again)]
    )
    result = taken(bench, sheet.spec, bench.name(sheet.spec), twice.content)
    holds(bench, sheet.spec, result, sheet.expected)
    must(result.superseded == 8, f"8 rows came twice, and {result.superseded} are superseded")
    more = bench.sheet(sheet.spec.name)
    mixed = replace(sheet, rows=[*more.rows, *again])
    other = taken(bench, sheet.spec, bench.name(sheet.spec), mixed.content)
    must((other.silver, other.superseded) == (len(more.rows), 5), f"5 rows are in silver already: {other}")
    return f"8 equal rows of one file and 5 of another counted once ({sheet.spec.name})"


def _late(bench: Bench) -> str:
    """What landed late ends in the same features as what landed in time."""
    from pipelines.features import compute, leakage

    flights = sorted(bench.sheet("flights", rows=300).rows, key=lambda row: row[-1])
    spec = dataset("flights")
    until = datetime.fromisoformat(flights[-1][-1])
    halves = [Sheet(spec, flights[:100]), Sheet(spec, flights[100:])]
    others = [bench.sheet(name, rows=100) for name in model(REFERENCE).datasets if name != "flights"]
    homes = [_fresh(bench, name) for name in ("clean", "late")]
    for stores, order in zip(homes, (halves, halves[::-1]), strict=True):
        for version in stores.features.current.values():
            leakage.stood(version, until, stores)  # whether views read the future is not asked here
        for sheet in others:
            _landed(bench, stores, sheet)
        for sheet in order:
            _landed(bench, stores, sheet)
            compute.compute(until, stores)
    return _same_features(*homes)


def _fresh(bench: Bench, name: str) -> Stores:
    """An empty deployment beside the bench's, with the same suites."""
    stores = Stores(local(bench.stores.settings.home / name))
    shutil.copytree(bench.stores.settings.expectations, stores.settings.expectations)
    return stores


def _landed(bench: Bench, stores: Stores, sheet: Sheet) -> None:
    path = stores.settings.landing_path / bench.name(sheet.spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sheet.content)
    [result] = ingest_dataset(sheet.spec, stores)
    must(is_in(result), f"{path.name!r} was refused: {result.reason}")


def _same_features(clean: Stores, late: Stores) -> str:
    told = []
    for view, version in clean.features.current.items():
        tables = [stores.tables.dataset("features", version.table) for stores in (clean, late)]
        rows = [[] if t is None else sorted(map(repr, t.to_table().to_pylist())) for t in tables]
        must(rows[0] == rows[1], f"feature view {view} is not what it is when nothing is late")
        told.append(f"{len(rows[0])} {view}")
    must(any(not text.startswith("0 ") for text in told), "no features were computed at all")
    return f"features as if nothing were late: {', '.join(told)}"


def _claim(home: Path, spec_name: str, start: Any) -> None:
    """One claimer, in a process of its own."""
    stores = Stores(local(home))
    start.wait()
    with suppress(TransientError):
        ingest_dataset(spec_of(spec_name), stores)


def _claimers(bench: Bench) -> str:
    """Two processes take the same files at once; the rows are in once."""
    sheets = [bench.sheet("weather", rows=40) for _ in range(3)]
    spec = sheets[0].spec
    names = [bench.name(spec) for _ in sheets]
    for name, sheet in zip(names, sheets, strict=True):
        bench.land(name, sheet.content)
    context = multiprocessing.get_context("fork")
    start = context.Barrier(2)
    home = bench.stores.settings.home
    both = [context.Process(target=_claim, args=(home, spec.name, start)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    must(all(process.exitcode == 0 for process in both), f"claimers ended with {[p.exitcode for p in both]}")
    bench.take(spec)
    for name, sheet in zip(names, sheets, strict=True):
        holds(bench, spec, one(bench.batches(spec), name), sheet.expected)
    must(not list(bench.landing.glob("*.csv")), "files lie in the landing folder still")
    return f"{len(names)} files taken by two processes at once are in once"


def _gone(bench: Bench) -> str:
    """A file that vanishes after it was listed is no failure for ever."""
    sheet = bench.sheet()
    bench.specs[sheet.spec.name] = sheet.spec
    name = bench.name(sheet.spec)
    path = bench.land(name, sheet.content)
    [batch] = discover(sheet.spec, bench.stores)
    path.unlink()
    _is_transient(bench, sheet, batch)
    bench.land(name, sheet.content)
    result = one(bench.take(sheet.spec), name)
    must(is_in(result), f"it came back, and was refused: {result.reason}")
    holds(bench, sheet.spec, result, sheet.expected)
    return "told as transient; back again, it is in"


def _is_transient(bench: Bench, sheet: Sheet, batch: Batch) -> None:
    try:
        result = ingest(sheet.spec, batch, bench.stores)
    except TransientError:
        return
    except EvergreenError as error:
        must(False, f"a file that vanished is a permanent failure: {error}")
    must(
        not is_in(result) and result.state.value != "refused", f"a file that vanished ended as {result.state}"
    )


def _crash(bench: Bench) -> str:
    """It dies after the commit, because the archive cannot be made; once it can, nothing is done again."""
    sheet = bench.sheet()
    name, home = bench.name(sheet.spec), bench.stores.settings.home
    path = bench.land(name, sheet.content)
    (home / "archive").write_text("in the way")
    with suppress(OSError, EvergreenError):
        bench.take(sheet.spec)
    must(path.exists(), "the file is gone although there is no archive")
    rows = bench.stores.tables.silver(sheet.spec).count_rows()
    must(rows == len(sheet.rows), f"{rows} rows were committed before the crash, not {len(sheet.rows)}")
    (home / "archive").unlink()
    bench.land(name, sheet.content, LONG_AGO)
    bench.take(sheet.spec)
    result = one(bench.batches(sheet.spec), name)
    must(is_in(result), f"after the crash it is {result.state}: {result.reason}")
    holds(bench, sheet.spec, result, sheet.expected)
    must(not path.exists(), "run again, it does not put the file away")
    return f"{rows} rows, committed before the crash, are in once; the file is archived"


def _case(name: str, expected: str, act: Callable[[Bench], str], needs: tuple[str, ...] = ()) -> Case:
    return Case(name, expected, act, needs=needs)


CASES = [
    _case("same name and bytes", "NO-OP", _same_name),
    _case("same bytes under a new name", "NO-OP, audited", _new_name),
    _case("same name, new bytes", "SUPERSEDES, both kept", _correction),
    _case("exact duplicate row", "COUNTED ONCE", _duplicate),
    _case("late file", "RECOMPUTED", _late, ("feast", "pipelines.features.compute")),
    _case("two claimers", "ONE WINS", _claimers),
    _case("file gone after listing", "RETRY", _gone),
    _case("crash after commit and before archiving", "NO-OP", _crash),
]
