"""What is read and written of MLflow's records without its client is what its client reads and writes."""

import math
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag

from pipelines.contracts import EvergreenError, TransientError
from pipelines.prove.promotion.world import World
from pipelines.prove.servers import mlflow_server
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.tracking import artifacts
from pipelines.stores.tracking.database import SCHEMA, Database
from pipelines.stores.tracking.records import Client, Records
from pipelines.stores.tracking.registry import ANCHOR, CHAMPION, PREVIOUS, Tracking
from pipelines.stores.tracking.rest import Rest
from tests.champions import copied, crowned

NAME = "flight_delays"
ODD = ["", "x", "ü 猫 🙂", "a\nb\tc", "'; --", "%s {} \\", "x" * 5000]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return crowned(tmp_path_factory)


@pytest.fixture
def tracking(world: World, tmp_path: Path) -> Tracking:
    """A copy of the world, with a second model, a version that was deleted, and a run of awkward values."""
    made = copied(world, tmp_path).stores.tracking
    client = made.client
    client.create_registered_model("it's another", tags={"a": "b"})
    client.create_registered_model("a_prompt")
    client.set_registered_model_tag("a_prompt", "mlflow.prompt.is_prompt", "true")
    gone = client.create_model_version(NAME, "elsewhere")
    client.set_registered_model_alias(NAME, "gone", gone.version)
    client.delete_model_version(NAME, gone.version)
    bare = client.create_model_version(NAME, "s3://bucket/model", tags={"only": "this"})
    client.set_registered_model_alias(NAME, "bare", bare.version)
    run = made.version(NAME, 1).run_id
    values = {"nan": math.nan, "inf": math.inf, "small": 1e-320, "whole": 3.0}
    client.log_batch(
        run,
        metrics=[Metric(name, value, 0, step) for name, value in values.items() for step in (0, 1)],
        params=[Param(f"odd{place}", text) for place, text in enumerate(ODD)],
        tags=[RunTag(f"odd{place}", text) for place, text in enumerate(ODD)],
    )
    return made


def both(tracking: Tracking) -> tuple[Records, Records]:
    light = tracking.records
    assert isinstance(light, Database)
    return light, Client(lambda: tracking.client)


def test_every_question_has_the_answer_that_mlflow_gives(tracking: Tracking) -> None:
    light, client = both(tracking)
    models = light.models()
    assert models == client.models()
    assert len(models) == 2
    assert "a_prompt" not in models
    versions = light.versions(NAME)
    assert [v.version for v in versions] == [7, 5, 4, 3, 2, 1]
    assert versions == client.versions(NAME)
    assert light.versions("nobody") == client.versions("nobody") == []
    for number in (*range(9), -1, 2**40):
        assert light.version(NAME, number) == client.version(NAME, number), number
    for alias in (CHAMPION, PREVIOUS, ANCHOR, "bare", "gone", "nobody", "Champion"):
        assert light.aliased(NAME, alias) == client.aliased(NAME, alias), alias
        assert light.aliased("nobody", alias) == client.aliased("nobody", alias) is None
        for name in (*models, "nobody"):
            assert light.every(alias)(name) == client.every(alias)(name) == light.aliased(name, alias), alias
    assert light.aliased(NAME, CHAMPION) is not None


def test_a_run_is_what_mlflow_says_of_it(tracking: Tracking) -> None:
    light, client = both(tracking)
    for version in tracking.versions(NAME):
        ours, theirs = light.run(version.run_id), client.run(version.run_id)
        assert plain(ours) == plain(theirs)
        assert ours.metrics
        assert ours.parameters
    for records in (light, client):
        with pytest.raises(EvergreenError, match="MLflow has no run"):
            records.run("0" * 32)


def plain(run: Any) -> dict[str, Any]:
    return {name: dict(value) if hasattr(value, "items") else value for name, value in vars(run).items()} | {
        "metrics": {name: repr(value) for name, value in run.metrics.items()}
    }


def test_files_lie_where_mlflow_fetches_them_from(tracking: Tracking, tmp_path: Path) -> None:
    from mlflow.artifacts import download_artifacts

    light, client = both(tracking)
    version = tracking.version(NAME, 1)
    addresses = [
        f"{version.source}/model.skops",
        f"{version.source}/MLmodel",
        f"runs:/{version.run_id}/baseline/model.skops",
        f"runs:/{version.run_id}/decision/evidence.parquet",
    ]
    for place, address in enumerate(addresses):
        found = artifacts.here(address, light)
        assert found is not None
        assert found == artifacts.here(address, client)
        folder = tmp_path / f"fetched{place}"
        folder.mkdir()
        assert found.read_bytes() == Path(download_artifacts(address, dst_path=str(folder))).read_bytes()
    for address in (
        "models:/m-0/model.skops",
        f"models:/{NAME}/1/MLmodel",
        "s3://bucket/x",
        "runs:/x/../../etc",
    ):
        assert artifacts.here(address, light) is None


def test_the_columns_of_a_version_are_those_of_its_signature(tracking: Tracking) -> None:
    from mlflow.models import Model

    for version in tracking.versions(NAME):
        asked = Model.load(str(artifacts.local(version.source))).get_input_schema().input_names()
        assert tracking.inputs(version) == asked
        assert len(asked) > 5


WRITES: dict[str, Callable[[Records, str], object]] = {
    "an alias that moves": lambda records, text: records.set_alias(NAME, CHAMPION, 1),
    "a new alias": lambda records, text: records.set_alias(NAME, "night", 3),
    "an alias that goes": lambda records, text: records.drop_alias(NAME, PREVIOUS),
    "a new tag": lambda records, text: records.tag(NAME, 2, "said", text),
    "a tag that changes": lambda records, text: records.tag(NAME, 2, "digest", text),
    "a new tag of the model": lambda records, text: records.tag_model(NAME, "said", text),
    "a tag of the model that changes": lambda records, text: records.tag_model(NAME, "audit_head", text),
    "a description": lambda records, text: records.describe(NAME, 2, text),
}


@pytest.mark.parametrize("what", WRITES)
def test_a_write_leaves_the_tables_that_mlflow_would_leave(what: str, world: World, tmp_path: Path) -> None:
    left = {}
    for kind in ("light", "client"):
        own = copied(world, tmp_path / kind).stores.tracking
        light, client = both(own)
        for text in ODD:
            WRITES[what](light if kind == "light" else client, text)
        left[kind] = tables(own.settings.home / "mlflow.db")
    assert left["light"] == left["client"]
    assert left["light"] != tables(world.home / "mlflow.db")


def tables(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, but for the moment of a change."""
    with sqlite3.connect(path) as connection:
        names = [
            name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")
        ]
        return {name: sorted(map(repr, rows(connection, name))) for name in names}


def rows(connection: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    found = connection.execute(f'select * from "{table}"')
    moment = [place for place, column in enumerate(found.description) if column[0] == "last_updated_time"]
    for row in found:
        yield tuple(value is not None if place in moment else value for place, value in enumerate(row))


@pytest.mark.parametrize("number", [6, 99])
def test_nothing_is_written_of_a_version_that_is_not_there(tracking: Tracking, number: int) -> None:
    light, _ = both(tracking)
    before = tables(tracking.settings.home / "mlflow.db")
    for write in (
        lambda: light.set_alias(NAME, CHAMPION, number),
        lambda: light.tag(NAME, number, "a", "b"),
        lambda: light.describe(NAME, number, "text"),
    ):
        with pytest.raises(EvergreenError, match=f"{NAME} has no version {number}"):
            write()
    assert tables(tracking.settings.home / "mlflow.db") == before


def test_tables_of_another_release_are_read_and_written_by_its_client(tracking: Tracking) -> None:
    with sqlite3.connect(tracking.settings.home / "mlflow.db") as connection:
        connection.execute("update alembic_version set version_num = 'another'")
    other = Tracking(tracking.settings, tracking.keys)
    assert isinstance(other.records, Client)


def test_the_revision_known_here_is_that_of_the_release_in_pyproject(tracking: Tracking) -> None:
    with sqlite3.connect(tracking.settings.home / "mlflow.db") as connection:
        assert connection.execute("select version_num from alembic_version").fetchall() == [(SCHEMA,)]


def test_a_deployment_without_mlflow_has_no_versions_and_looking_makes_none(stores: Stores) -> None:
    before = sorted(stores.settings.home.rglob("*"))
    assert stores.tracking.versions(NAME) == []
    assert stores.tracking.champion(NAME) is None
    assert stores.tracking.records.models() == {}
    with pytest.raises(EvergreenError, match="has no version 1"):
        stores.tracking.version(NAME, 1)
    with pytest.raises(EvergreenError, match="has no version 1"):
        stores.tracking.set_alias(NAME, CHAMPION, 1)
    assert sorted(stores.settings.home.rglob("*")) == before


def test_tables_that_mlflow_makes_later_are_seen(tmp_path: Path) -> None:
    tracking = Stores(Settings(_env_file=None, home=tmp_path)).tracking
    assert tracking.versions(NAME) == []
    tracking.client.create_registered_model(NAME)
    tracking.client.create_model_version(NAME, "somewhere")
    assert [each.version for each in tracking.records.versions(NAME)] == [1]


def test_files_kept_with_a_run_are_listed_by_mlflow_and_seen_whole(
    tracking: Tracking, tmp_path: Path
) -> None:
    run = tracking.version(NAME, 1).run_id
    for text in ("first", "second, longer"):
        (tmp_path / "note.txt").write_text(text)
        tracking.log_files(run, "notes/deep", tmp_path / "note.txt")
        found = tracking.fetched(f"runs:/{run}/notes/deep/note.txt", tmp_path)
        assert found.read_text() == text
    assert [each.path for each in tracking.client.list_artifacts(run, "notes/deep")] == [
        "notes/deep/note.txt"
    ]


@pytest.fixture
def served(tracking: Tracking) -> Iterator[Rest]:
    """MLflow's own server on the same database."""
    folder = tracking.settings.home / "served"
    folder.mkdir()
    with mlflow_server(folder, tracking.settings.mlflow_uri) as address:
        yield Rest(f"http://{address}")


def test_a_server_is_asked_without_its_client_and_answers_as_its_database(
    tracking: Tracking, served: Rest
) -> None:
    light, _ = both(tracking)
    assert served.models() == light.models()
    assert served.versions(NAME) == light.versions(NAME)
    assert served.versions("nobody") == []
    for number in (*range(9), 2**31 - 1):
        assert served.version(NAME, number) == light.version(NAME, number), number
    for alias in (CHAMPION, PREVIOUS, ANCHOR, "bare", "gone", "nobody"):
        assert served.aliased(NAME, alias) == light.aliased(NAME, alias), alias
        assert served.every(alias)(NAME) == light.aliased(NAME, alias), alias
    for version in tracking.versions(NAME):
        assert plain(served.run(version.run_id)) == plain(light.run(version.run_id))
        assert served.logged(version.run_id, "model") == light.logged(version.run_id, "model") is not None
    model = str(light.logged(tracking.version(NAME, 1).run_id, "model")).split("/")[-2]
    assert served.location(model) == light.location(model) is not None
    assert served.location("m-0") is light.location("m-0") is None
    with pytest.raises(EvergreenError, match="MLflow has no run"):
        served.run("0" * 32)
    for text in ODD[1:]:
        for write in WRITES.values():
            write(served, text)
        assert light.version(NAME, 2).tags["said"] == light.models()[NAME]["said"] == text
        assert light.aliased(NAME, CHAMPION).version == 1
        assert light.aliased(NAME, PREVIOUS) is None
    with pytest.raises(EvergreenError, match="has no version 99"):
        served.set_alias(NAME, CHAMPION, 99)


def test_a_server_that_is_asked_in_a_way_of_its_own_is_asked_by_its_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(uri: str) -> type:
        return type(Stores(Settings(_env_file=None, home=tmp_path, tracking_uri=uri)).tracking.records)

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_INSECURE_TLS", raising=False)
    assert asked("http://mlflow:5000") is Rest
    assert asked("http://name:word@mlflow:5000") is Rest
    assert asked("file:///somewhere") is Client
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    assert asked("http://mlflow:5000") is Client


def test_a_server_that_does_not_answer_is_an_error_that_may_pass() -> None:
    with pytest.raises(TransientError, match="does not answer"):
        Rest("http://127.0.0.1:1").models()
