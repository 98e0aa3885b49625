"""Rules of leakage: a feature whose past changes as more becomes known is refused by its name, an honest one is not."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines import catalog
from pipelines.contracts import Batch, BatchState, IngestResult
from pipelines.features import compute, leakage
from pipelines.features.leakage import ReadsTheFuture
from pipelines.features.silver import Silver
from pipelines.features.view_rows import opened, within
from pipelines.prove.features.leaks import Leak, leaks, written
from pipelines.prove.worlds import sandbox
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from pipelines.stores.tables import silver_schema
from tests.flown import FLOWN
from tests.integration.conftest import AS_OF
from tests.once import copied_home

SPEC = catalog.model("flight_delays")
LEAKS = leaks(SPEC)


@pytest.mark.parametrize("leak", LEAKS, ids=[leak.what for leak in LEAKS])
def test_a_planted_view_is_refused_by_name_and_nothing_of_it_is_published(
    january: Path, tmp_path: Path, leak: Leak
) -> None:
    home = tmp_path / "home"
    copied_home(january, home)
    stores = sandbox(home, written(SPEC, leak, PROJECT / "feature_repo", tmp_path / "repo"))
    version = stores.features.version("planted")
    if leak.honest:
        assert compute.catch_up(version, AS_OF, stores, print)
        return
    with pytest.raises(ReadsTheFuture, match=leak.name):
        compute.catch_up(version, AS_OF, stores, print)
    assert not stores.tables.version("features", version.table)
    assert stores.features.materialized(version) is None


def test_a_view_is_tried_on_rows_as_they_were_first_known(january: Path, tmp_path: Path) -> None:
    """Each correction parts what was known before it from what was later: among many, little is seen of later."""
    copied_home(january, tmp_path / "home")
    stores = sandbox(tmp_path / "home")
    version = stores.features.version("route_punctuality")
    asked = " union all ".join(
        f"select '{name}', count(*), sum(hash(t)) from {name} t" for name in version.sources
    )
    start = AS_OF - timedelta(days=9)
    with opened(version, start, AS_OF, stores) as known:
        assert known.corrections(start, AS_OF) == []
        before = known.query(asked, {}).to_pylist()
    for name in version.sources:
        correct_each(stores, catalog.dataset(name))
    with opened(version, start, AS_OF, stores) as known:
        assert len(known.corrections(start, AS_OF)) > 1000
    with opened(version, start, AS_OF, stores, corrected=False) as known:
        assert known.corrections(start, AS_OF) == []
        assert known.query(asked, {}).to_pylist() == before


def test_the_check_sees_no_correction(january: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied_home(january, tmp_path / "home")
    stores, seen = sandbox(tmp_path / "home"), []
    version, start = stores.features.version("route_punctuality"), AS_OF - timedelta(days=9)
    for name in version.sources:
        correct_each(stores, catalog.dataset(name))
    stores.progress.forget(f"{version.consumer}:as-of")

    def noted(known: Silver, *window: Any) -> pa.Table:
        assert known.corrections(start, AS_OF) == []
        seen.append(window)
        return within(known, *window)

    monkeypatch.setattr(leakage, "within", noted)
    leakage.check(version, start, AS_OF, stores)
    assert len(seen) > 5


def correct_each(stores: Stores, spec: catalog.DatasetSpec) -> None:
    """Each row is landed again, known a second later than it was."""
    known = stores.tables.silver(spec).to_table().to_pandas()
    times, digest = known[spec.available_at] + timedelta(seconds=1), "c" * 64
    new = known.assign(**{spec.available_at: times, "_batch": digest, "_line": range(2, 2 + len(known))})
    assert len(new) > 1000
    table = pa.Table.from_pandas(new, silver_schema(spec), preserve_index=False)
    stores.tables.append("silver", spec.name, table, digest)
    stores.ledger.see(Batch(digest, spec.name, "again.csv", 1))
    spans = {"first_known": times.min().to_pydatetime(), "last_known": times.max().to_pydatetime()}
    landed = IngestResult(digest, spec.name, "again.csv", BatchState.COMMITTED, len(new), len(new), **spans)
    stores.ledger.record(landed)


def test_the_views_of_the_repository_are_honest(january: Path, tmp_path: Path) -> None:
    copied_home(january, tmp_path / "home")
    stores = sandbox(tmp_path / "home")
    for version in map(stores.features.version, FLOWN):
        stores.progress.forget(f"{version.consumer}:as-of")
    run = compute.compute(AS_OF, stores)
    assert {*FLOWN} <= {*run.rows}
    assert len(FLOWN) >= 9
    for version in map(stores.features.version, FLOWN):
        assert stores.progress.reached(f"{version.consumer}:as-of") == AS_OF
