"""What is told of views without Feast is what Feast would tell, and an edit counts at once."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.catalog import model
from pipelines.prove.worlds import sandbox
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from pipelines.stores.feature_store.described import remembered
from tests.flown import FLOWN

EDITS: dict[str, tuple[str, Callable[[str], str]]] = {
    "another owner": ("carrier_delays.py", lambda text: text.replace("flight-operations", "somebody-else")),
    "another TTL": ("carrier_delays.py", lambda text: text.replace("hours=6", "days=3")),
    "no TTL": ("carrier_delays.py", lambda text: text.replace("ttl=timedelta(hours=6)", "ttl=timedelta(0)")),
    "a feature less": (
        "carrier_delays.py",
        lambda text: re.sub(r"(?m)^ +Field\(name=\"late_share_3h\".*\n", "", text),
    ),
    "a comment": ("carrier_delays.sql", lambda text: f"{text}\n-- nothing else"),
    "other SQL": ("origin_weather.sql", lambda text: text.replace("temp, dewp", "temp + 1 as temp, dewp")),
}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    to = tmp_path / "repo"
    shutil.copytree(PROJECT / "feature_repo", to, ignore=shutil.ignore_patterns("__pycache__"))
    return to


def as_feast_says(stores: Stores) -> dict[str, tuple[object, ...]]:
    return {
        view.name: (
            view.current_version_number,
            view.description,
            view.owner,
            tuple(view.join_keys),
            tuple(feature.name for feature in view.features),
            view.ttl or None,
        )
        for view in stores.features.views()
    }


def as_told(stores: Stores) -> dict[str, tuple[object, ...]]:
    return {
        name: (view.version.number, view.description, view.owner, view.entities, view.features, view.ttl)
        for name, view in stores.features.described.items()
    }


def kept(stores: Stores) -> object:
    settings = stores.settings
    return remembered(settings.home / "feast", settings.feature_repo, stores.features.registered)


def test_what_is_remembered_is_what_feast_says(tmp_path: Path, repo: Path) -> None:
    first = sandbox(tmp_path / "home", repo)
    assert kept(first) is None
    told = as_told(first)
    assert len(told) >= 8
    again = sandbox(tmp_path / "home", repo)
    assert kept(again) is not None
    assert as_told(again) == told == as_feast_says(again)
    assert list(again.features.current) == sorted(told)


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_counts_at_once(what: str, tmp_path: Path, repo: Path) -> None:
    before = as_told(sandbox(tmp_path / "home", repo))
    name, edit = EDITS[what]
    text = (repo / name).read_text()
    (repo / name).write_text(edit(text))
    assert (repo / name).read_text() != text
    after = sandbox(tmp_path / "home", repo)
    assert kept(after) is None
    told = as_told(after)
    assert (told == before) == (what == "a comment")
    assert as_told(sandbox(tmp_path / "home", repo)) == told == as_feast_says(after)


def test_a_view_that_another_registered_anew_is_not_told_as_it_was(tmp_path: Path, repo: Path) -> None:
    stores = sandbox(tmp_path / "home", repo)
    assert stores.features.described
    stores.features.registered.register("aircraft", "another", "select 1", "{}")
    assert kept(sandbox(tmp_path / "home", repo)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"repo": 1}'])
def test_a_memory_that_cannot_be_read_is_made_anew(text: str, tmp_path: Path, repo: Path) -> None:
    told = as_told(sandbox(tmp_path / "home", repo))
    (tmp_path / "home" / "feast" / "described.json").write_text(text)
    assert as_told(sandbox(tmp_path / "home", repo)) == told
    assert kept(sandbox(tmp_path / "home", repo)) is not None


def test_how_far_a_view_came_online_is_told_without_feast(computed: Stores) -> None:
    stores = Stores(computed.settings)
    for version in map(stores.features.version, FLOWN):
        online = computed.features.store._get_provider().online_store
        said = online.materialized(computed.features.store.config, computed.features.definition(version))
        assert stores.features.materialized(version) == said is not None
    look = "import sys; from pipelines.stores import Stores; from pipelines.settings import settings;"
    look += "f = Stores(settings()).features; print([str(f.materialized(v)) for v in f.current.values()])"
    look += "; assert 'feast' not in sys.modules"
    home = {"EVERGREEN_HOME": str(computed.settings.home)}
    subprocess.run([sys.executable, "-c", look], check=True, cwd=PROJECT, env=home)


def test_a_view_without_a_ttl_never_grows_old(tmp_path: Path, repo: Path) -> None:
    found = sandbox(tmp_path / "home", repo).features.described
    assert found["carrier_delays"].ttl == timedelta(hours=6)


def test_a_models_features_are_those_of_its_feast_service_in_that_order(tmp_path: Path) -> None:
    stores, spec = sandbox(tmp_path / "home"), model("flight_delays")
    some = spec.model_copy(
        update={"features": ("origin_weather:visib", "carrier_delays:*", "origin_weather:temp")}
    )
    assert stores.features.feature_names(some)[:2] == ["origin_weather__visib", "origin_weather__temp"]
    service = stores.features.store.get_feature_service(spec.name)
    told = [f"{p.name}__{f.name}" for p in service.feature_view_projections for f in p.features]
    assert len(told) > 20
    assert stores.features.feature_names(spec) == told
