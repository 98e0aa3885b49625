"""Rules of view versions: a view's change is a version, and what was trained on an earlier one keeps it."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from pipelines import catalog
from pipelines.contracts import EvergreenError
from pipelines.features import compute
from pipelines.prove.worlds import sandbox
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from pipelines.training.training_set import build
from tests.integration.conftest import AS_OF
from tests.once import copied_home

SPEC = catalog.model("flight_delays")
ENTITIES = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "tailnum": "N14228"}
TEMP = "origin_weather__temp"

Edit = Callable[[str], str]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A feature repository that may be edited."""
    to = tmp_path / "repo"
    shutil.copytree(PROJECT / "feature_repo", to, ignore=shutil.ignore_patterns("__pycache__"))
    return to


@pytest.fixture
def home(computed: Stores, tmp_path: Path) -> Path:
    """January, with the first version of every view computed."""
    return copied_home(computed.settings.home, tmp_path / "home")


def edited(repo: Path, name: str, edit: Edit) -> None:
    path = repo / name
    before = path.read_text()
    path.write_text(edit(before))
    assert path.read_text() != before


def celsius(sql: str) -> str:
    return sql.replace("origin, temp, dewp", "origin, (temp - 32) / 1.8 as temp, dewp")


def test_a_change_of_the_sql_is_a_version_with_a_table_of_its_own(home: Path, repo: Path) -> None:
    assert sandbox(home, repo).features.version("origin_weather").number == 1
    edited(repo, "origin_weather.sql", celsius)
    after = sandbox(home, repo)
    run = compute.compute(AS_OF, after)
    assert set(run.rows) == {"origin_weather"}
    assert [v.number for v in after.features.registered.versions("origin_weather")] == [1, 2]
    old, new = (
        after.tables.dataset("features", f"origin_weather/v{n}").to_table().to_pandas() for n in (1, 2)
    )
    assert len(old) == len(new) > 500
    pd.testing.assert_series_equal(
        ((old.temp - 32) / 1.8).sort_values(ignore_index=True), new.temp.sort_values(ignore_index=True)
    )


def test_old_and_new_versions_are_online_side_by_side(home: Path, repo: Path) -> None:
    edited(repo, "origin_weather.sql", celsius)
    after = sandbox(home, repo)
    compute.compute(AS_OF, after)
    new = after.features.online([TEMP], ENTITIES)
    old = after.features.online([TEMP], ENTITIES, views={"origin_weather": 1})
    assert new.values[TEMP] == pytest.approx((old.values[TEMP] - 32) / 1.8)
    assert (old.known["origin_weather"]["version"], new.known["origin_weather"]["version"]) == (1, 2)


def test_a_training_set_of_an_earlier_version_is_rebuilt_to_the_bit(home: Path, repo: Path) -> None:
    first = build(SPEC, AS_OF, sandbox(home, repo))
    assert first.views["origin_weather"] == 1
    edited(repo, "origin_weather.sql", celsius)
    after = sandbox(home, repo)
    compute.compute(AS_OF + timedelta(days=1), after)
    shutil.rmtree(home / "training_sets")
    again = build(SPEC, AS_OF, after, first.views, first.versions)
    assert again == first
    assert build(SPEC, AS_OF, after).content != first.content


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("origin_weather.sql", lambda sql: f"-- another remark\n{sql}"),
        ("origin_weather.py", lambda text: text.replace('owner="meteorology"', 'owner="somebody"')),
    ],
)
def test_what_cannot_change_a_value_makes_no_version(home: Path, repo: Path, name: str, edit: Edit) -> None:
    edited(repo, name, edit)
    after = sandbox(home, repo)
    assert compute.compute(AS_OF, after).rows == {}
    assert after.features.version("origin_weather").number == 1
    if name.endswith(".py"):
        assert {v.name: v.owner for v in after.features.store.list_feature_views()}[
            "origin_weather"
        ] == "somebody"


def test_a_change_of_the_ttl_is_a_version(home: Path, repo: Path) -> None:
    edited(repo, "origin_weather.py", lambda text: text.replace("timedelta(hours=6)", "timedelta(hours=3)"))
    assert sandbox(home, repo).features.version("origin_weather").number == 2


def test_feast_apply_by_hand_and_a_lost_registry_are_put_right(home: Path, repo: Path) -> None:
    edited(repo, "origin_weather.sql", celsius)
    compute.compute(AS_OF, sandbox(home, repo))
    wanted = sandbox(home, repo).features.online([TEMP], ENTITIES).values
    from pipelines.stores.feature_store.definitions import defined

    sandbox(home, repo).features.store.apply(defined(repo))
    assert sandbox(home, repo).features.online([TEMP], ENTITIES).values == wanted
    (home / "feast" / "registry.db").unlink()
    healed = sandbox(home, repo)
    assert healed.features.online([TEMP], ENTITIES).values == wanted
    assert healed.features.online([TEMP], ENTITIES, views={"origin_weather": 1}).values[TEMP] is not None
    assert compute.compute(AS_OF, healed).rows == {}


def test_a_version_that_a_champion_answers_with_is_kept_up(
    home: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(repo, "origin_weather.sql", celsius)
    after = sandbox(home, repo)
    compute.compute(AS_OF, after)

    class Champion:
        views = {"origin_weather": 1}  # noqa: RUF012

    monkeypatch.setattr(type(after.tracking), "aliased", lambda *_: Champion())
    run = compute.compute(AS_OF + timedelta(hours=6), after)
    assert {"origin_weather", "origin_weather@v1"} <= set(run.rows)
    old = after.features.online([TEMP], ENTITIES, views={"origin_weather": 1}).known["origin_weather"]
    assert old["as_of"] == (AS_OF + timedelta(hours=6)).isoformat()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("timedelta(hours=6)", "'6h'"),
        ('name="origin_weather"', "name=3"),
        ("entities=[origin]", "entities=['origin']"),
    ],
)
def test_a_wrong_definition_is_told_by_its_file(home: Path, repo: Path, right: str, wrong: str) -> None:
    edited(repo, "origin_weather.py", lambda text: text.replace(right, wrong))
    with pytest.raises(EvergreenError, match=r"origin_weather\.py defines nothing that Feast can keep"):
        compute.compute(AS_OF, sandbox(home, repo))


def test_a_version_that_never_was_is_named(computed: Stores) -> None:
    with pytest.raises(EvergreenError, match=r"no version 9; there are: aircraft@v1"):
        computed.features.version("aircraft", 9)
    with pytest.raises(EvergreenError, match="there are: aircraft"):
        computed.features.version("nothing")
