"""A person sees why something was refused, mends it, and replays it; nothing is lost on the way."""

from pathlib import Path

import pyarrow.compute as pc
import pytest

from pipelines.catalog import dataset
from pipelines.contracts import EvergreenError, IngestResult
from pipelines.ingestion import ingest as stage
from pipelines.ingestion.accounting import places
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.ingestion.quarantine import discard, find, header, held, release, rows
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.validation import validate as validation
from tests.integration.ingestion.test_ingest import GOOD, LINES, land

SPEC = dataset("flights")
DATA = Path(__file__).parents[2] / "data"
BROKEN = (DATA / "flights_broken_row.csv").read_bytes()
MISSING = (DATA / "flights_missing_column.csv").read_bytes()


def taken(stores: Stores, content: bytes, name: str = "flights_1.csv") -> IngestResult:
    land(stores, content, name)
    [result] = ingest_dataset(SPEC, stores)
    return result


def boston(stores: Stores) -> IngestResult:
    """A batch whose third row leaves from an airport that the suite does not know."""
    line = LINES[3]
    for airport in (b",JFK,", b",LGA,", b",EWR,"):
        line = line.replace(airport, b",BOS,", 1)
    result = taken(stores, b"".join([*LINES[:3], line, *LINES[4:]]))
    assert result.quarantined == 1
    return result


def allow_boston(monkeypatch: pytest.MonkeyPatch) -> None:
    """Today's rules let flights leave from Boston."""
    load = validation.load_suite

    def lenient(spec: object, folder: Path) -> object:
        suite = load(spec, folder)
        suite.expectations = [e for e in suite.expectations if getattr(e, "column", "") != "origin"]
        return suite

    monkeypatch.setattr(validation, "load_suite", lenient)


def once_each(stores: Stores, parsed: int) -> None:
    """Every landed line lies in exactly one place."""
    table = places(SPEC, stores)
    pairs = list(zip(table["batch"].to_pylist(), table["line"].to_pylist(), strict=True))
    assert len(pairs) == len(set(pairs)) == parsed


def test_what_is_held_is_listed_with_its_reason_until_someone_deals_with_it(stores: Stores) -> None:
    broken, missing = taken(stores, BROKEN), taken(stores, MISSING, "flights_2.csv")
    assert [batch.digest for batch in held(stores)] == [broken.digest, missing.digest]
    [row] = rows(broken, stores)
    assert (row["line"], row["rule"]) == (6, "integer")
    assert header(broken, stores) == LINES[0]
    discard(find(missing.digest[:8], stores), stores, "the owner sends it anew")
    assert [batch.digest for batch in held(stores)] == [broken.digest]
    [*_, last] = stores.ledger.history(missing.digest, "flights")
    assert (last.step, last.note) == ("discarded", "the owner sends it anew")
    assert last.who
    assert last.at


def test_rows_judged_again_by_other_rules_go_to_silver_and_lie_in_one_place(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = boston(stores)
    allow_boston(monkeypatch)
    after = release(before, stores, "Boston is ours now")
    assert (after.parsed, after.silver, after.quarantined, after.superseded) == (30, 30, 0, 0)
    assert after.arrival != before.arrival
    once_each(stores, 30)
    assert held(stores) == []
    assert [s.step for s in stores.ledger.history(before.digest, "flights")][-3:] == [
        "released",
        "claimed",
        "archived",
    ]


def test_rows_released_under_the_same_rules_are_held_again(stores: Stores) -> None:
    before = boston(stores)
    for _ in range(2):
        after = release(before, stores, "try")
        assert (after.silver, after.quarantined) == (29, 1)
        once_each(stores, 30)
    assert len(held(stores)) == 1


class Crash(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("moment", ["before silver", "after silver"])
def test_a_release_that_died_is_ended_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    stores = Stores(Settings(_env_file=None, home=tmp_path, lease_seconds=3))
    before = boston(stores)
    allow_boston(monkeypatch)

    def die(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patched:
        if moment == "before silver":
            patched.setattr(stage, "_written", die)
        else:
            patched.setattr(type(stores.ledger), "record", die)
        with pytest.raises(Crash):
            release(before, stores, "try")
    [after] = ingest_dataset(SPEC, Stores(stores.settings))
    assert (after.parsed, after.silver, after.quarantined) == (30, 30, 0)
    once_each(stores, 30)


def test_a_mended_file_takes_the_place_of_what_was_held(stores: Stores, tmp_path: Path) -> None:
    broken = taken(stores, BROKEN)
    mended = tmp_path / "mended.csv"
    raw = rows(broken, stores)[0]["raw"]
    mended.write_bytes(header(broken, stores) + raw.replace(b"1.069 miles", b"1069"))
    result = release(broken, stores, "a person mended the distance", mended)
    assert (result.parsed, result.silver) == (1, 1)
    assert held(stores) == []
    assert pc.sum(stores.tables.silver(SPEC).to_table()["distance"]).as_py() > 1069
    assert result.digest[:12] in str(stores.ledger.history(broken.digest, "flights")[-1].note)


def test_what_cannot_be_done_says_so(stores: Stores, tmp_path: Path) -> None:
    good = taken(stores, GOOD)
    with pytest.raises(EvergreenError, match="holds nothing back"):
        release(good, stores, "why not")
    with pytest.raises(EvergreenError, match="no batch"):
        find("ffff", stores)
    broken = taken(stores, BROKEN, "flights_3.csv")
    with pytest.raises(EvergreenError, match="no file"):
        release(broken, stores, "x", tmp_path / "nothing.csv")


def test_why_rows_are_held_back_is_told_in_one_line_the_rule_that_most_broke_first() -> None:
    from pipelines.ingestion.quarantine import _told

    assert _told({"a": 1}) == "1 row: a"
    assert _told({"b": 1200, "a": 2}) == "1,200 rows: b; 2 rows: a"
    assert _told(dict.fromkeys("abcde", 2)) == "2 rows: a; 2 rows: b; 2 rows: c; 4 more by 2 other rules"
