"""Rules of leakage: a feature whose past changes as more becomes known is refused by its name, an honest one is not."""

from pathlib import Path

import pytest

from pipelines import catalog
from pipelines.features import compute
from pipelines.features.leakage import ReadsTheFuture
from pipelines.prove.features.leaks import Leak, leaks, written
from pipelines.prove.worlds import sandbox
from pipelines.settings import PROJECT
from tests.flown import FLOWN
from tests.integration.conftest import AS_OF

SPEC = catalog.model("flight_delays")
LEAKS = leaks(SPEC)


@pytest.mark.parametrize("leak", LEAKS, ids=[leak.what for leak in LEAKS])
def test_a_planted_view_is_refused_by_name_and_nothing_of_it_is_published(
    january: Path, tmp_path: Path, leak: Leak
) -> None:
    import shutil

    home = tmp_path / "home"
    shutil.copytree(january, home)
    stores = sandbox(home, written(SPEC, leak, PROJECT / "feature_repo", tmp_path / "repo"))
    version = stores.features.version("planted")
    if leak.honest:
        assert compute.catch_up(version, AS_OF, stores, print)
        return
    with pytest.raises(ReadsTheFuture, match=leak.name):
        compute.catch_up(version, AS_OF, stores, print)
    assert not stores.tables.version("features", version.table)
    assert stores.features.materialized(version) is None


def test_the_views_of_the_repository_are_honest(january: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(january, tmp_path / "home")
    stores = sandbox(tmp_path / "home")
    for version in map(stores.features.version, FLOWN):
        stores.progress.forget(f"{version.consumer}:as-of")
    run = compute.compute(AS_OF, stores)
    assert {*FLOWN} <= {*run.rows}
    assert len(FLOWN) >= 9
    for version in map(stores.features.version, FLOWN):
        assert stores.progress.reached(f"{version.consumer}:as-of") == AS_OF
