"""State may lie below any folder a person has, or the product says at its start why it cannot."""

import os
import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipelines import places
from pipelines.cli import app
from pipelines.contracts import EvergreenError
from pipelines.loop.doctor import examine
from pipelines.settings import Settings, settings
from pipelines.stores import Stores
from pipelines.stores.databases import engine
from pipelines.stores.durable import files_of, flush, local
from pipelines.stores.feature_store.features import Features
from pipelines.stores.offline.sources import Source, _whole
from pipelines.stores.tables import Tables

FIT = ["my data", "é ü", "50% off", "100%", "a#1", "a+b", "a&b", "it's", 'the "lake"', "a=b", "a:b", "a@b", "{x}",
       "~x", "5$", "a;b", "日本", "a,b", "%zz", "#", "a: b #c", "-x", "...", "e\u0301"]  # fmt: skip
UNFIT = [
    "a[b",
    "a]b",
    "a?b",
    "a*b",
    "a|b",
    "a^b",
    "a\\b",
    "a%20b",
    "%2F",
    "a\tb",
    "a\nb",
    "\x7f",
    "$HOME",
    "${x}",
]
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 80
)


@pytest.mark.parametrize("name", FIT)
def test_a_table_below_any_fit_folder_finds_its_own_files(tmp_path: Path, name: str) -> None:
    assert places.fault(tmp_path / name) is None
    tables = Tables(str(tmp_path / name))
    rows = pa.table({"a": [1, 2]})
    assert tables.append("features", "x", rows, "t1")
    assert tables.append("features", "x", rows, "t2")
    table = tables.table("features", "x")
    assert table is not None
    assert {file.exists() for file in files_of(table)} == {True}
    assert len(files_of(table)) == 2
    assert _whole(table)
    found = Source("x", tables.uri("features", "x"), True, version=table.version())
    assert found.dataset().to_table().num_rows == 4
    files_of(table)[0].unlink()
    assert not _whole(table)


@pytest.mark.parametrize("name", ["plain", "my data", "50% off #é"])
def test_the_files_of_a_partitioned_table_are_named_as_they_lie_on_disk(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    values = ["x y", "50%25", "é/#?", "a=b:*", "plain"]
    write_deltalake(str(folder), pa.table({"a": range(5), "p": values}), partition_by=["p"])
    table = DeltaTable(str(folder))
    assert sorted(files_of(table)) == sorted(folder.rglob("*.parquet"))
    assert len(files_of(table)) == 5
    flush(table.table_uri)


def test_only_an_address_is_decoded() -> None:
    assert local("/data/50%25") == Path("/data/50%25")
    assert local("file:///data/my%20lake%23") == Path("/data/my lake#")
    assert local((Path("/data") / "50% é#?").as_uri()) == Path("/data/50% é#?")
    assert local("s3://bucket/lake") is None


@pytest.mark.parametrize("name", [*FIT, "a?b", "a%20b"])
def test_a_sqlite_address_names_exactly_that_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    url = places.sqlite_url(tmp_path / name / "x.db")
    with engine(url).begin() as connection:
        connection.execute(sa.text("create table t (a int)"))
    with sqlite3.connect(tmp_path / name / "x.db") as found:
        assert found.execute("select name from sqlite_master").fetchall() == [("t",)]
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", FIT)
def test_feast_is_given_a_folders_name_as_it_is(tmp_path: Path, name: str) -> None:
    config = Features(Settings(_env_file=None, home=tmp_path / name))._config()
    assert config["registry"]["path"] == str(tmp_path / name / "feast" / "registry.db")
    assert config["offline_store"]["lake"] == str(tmp_path / name / "lake")
    assert config["registry"]["serve_features_while_materializing"] is True


@pytest.mark.parametrize("name", UNFIT)
@pytest.mark.parametrize("setting", ["home", "lake"])
def test_an_unfit_folder_is_refused_in_words(tmp_path: Path, name: str, setting: str) -> None:
    for folder in (tmp_path / name, tmp_path / name / "deeper"):
        with pytest.raises(
            EvergreenError, match=f"rename that folder, or set EVERGREEN_{setting.upper()} to"
        ) as said:
            Settings(_env_file=None, **{setting: folder if setting == "home" else str(folder)})
        assert str(said.value).isprintable()


def test_a_link_to_an_unfit_folder_is_refused_and_one_from_it_too(tmp_path: Path) -> None:
    (tmp_path / "a[b").mkdir()
    (tmp_path / "clean").mkdir()
    (tmp_path / "link").symlink_to("a[b")
    (tmp_path / "a[b" / "back").symlink_to(tmp_path / "clean")
    for folder in (tmp_path / "link", tmp_path / "link" / "home", tmp_path / "a[b" / "back"):
        with pytest.raises(EvergreenError, match="rename that folder"):
            Settings(_env_file=None, home=folder)


def test_a_name_that_is_not_utf8_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match="is not UTF-8"):
        Settings(_env_file=None, home=Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff")))


@given(NAMES)
@hypothesis(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_folder_is_called_it_works_or_is_refused(tmp_path: Path, name: str) -> None:
    if places.fault(tmp_path / name) is not None:
        return
    tables = Tables(str(tmp_path / name))
    tables.append("features", "x", pa.table({"a": [1]}), "t")
    table = tables.table("features", "x")
    assert table is not None
    assert _whole(table)
    assert tables.root == str(tmp_path / name)
    assert (tmp_path / name / "features" / "x" / "_delta_log").is_dir()


@pytest.mark.parametrize("setting", ["home", "landing", "keys"])
@pytest.mark.parametrize("address", ["s3://bucket/home", "gs://bucket", "file:///data", "abfss://c@a/x"])
def test_an_address_where_a_folder_must_be_is_refused(setting: str, address: str) -> None:
    with pytest.raises(EvergreenError, match=f"EVERGREEN_{setting.upper()} must be a folder"):
        Settings(_env_file=None, **{setting: address})


def test_a_lake_elsewhere_frees_nothing_but_the_lake(tmp_path: Path) -> None:
    assert Settings(_env_file=None, home=tmp_path, lake="s3://bucket/a[b?c").lake_uri == "s3://bucket/a[b?c"


def test_a_relative_home_is_the_same_for_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = Settings(_env_file=None, home=Path("my home"), landing=Path("in"))
    assert (found.home, found.landing_path) == (tmp_path / "my home", tmp_path / "in")
    assert found.mlflow_artifacts == (tmp_path / "my home" / "mlartifacts").as_uri()


@pytest.mark.parametrize("command", [["ingest"], ["status"], ["doctor"], ["doctor", "--json"], ["start"]])
@pytest.mark.parametrize("name", ["a[b", "a?b", "a*b"])
def test_every_command_says_so_before_it_does_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], name: str
) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / name))
    settings.cache_clear()
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert name in done.output.replace("\n", "")
    assert "Traceback" not in done.output
    assert os.listdir(tmp_path) == []


def test_doctor_says_that_the_folders_are_fit(stores: Stores) -> None:
    [found] = [each for each in examine(stores.settings) if each["check"] == "folders"]
    assert found["ok"]
    assert str(stores.settings.home) in found["detail"]


def test_a_setting_of_the_wrong_kind_is_named_and_its_value_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_THREADS", "hunter2")
    settings.cache_clear()
    with pytest.raises(EvergreenError, match=r"EVERGREEN_THREADS: .*integer") as said:
        settings()
    assert "hunter2" not in str(said.value)
