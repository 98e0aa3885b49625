"""Rules of files that several machines share: what one wrote is what all read, and home alone is as it always was."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.contracts import EvergreenError
from pipelines.places import OBJECT_STORES
from pipelines.settings import Settings
from pipelines.stores.shared import objects
from pipelines.stores.shared.files import Files
from pipelines.stores.shared.objects import Objects, refuse_without_conditions


@dataclass
class Machines:
    """Two homes on one storage, which is a folder here."""

    one: Files
    other: Files

    def place(self, files: Files, name: str) -> Path:
        return files.home.joinpath(*name.split("/"))


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    storage = str(tmp_path / "storage")
    return Machines(Files(tmp_path / "one", storage), Files(tmp_path / "other", storage))


def test_what_one_machine_keeps_the_other_finds_to_the_byte_and_as_old_as_it_is(machines: Machines) -> None:
    with machines.one.whole(machines.one.home / "decisions" / "m" / "1.json") as part:
        part.write_bytes(b"\x00\xff first\r\n")
    found = machines.other.at("decisions", "m", "1.json")
    assert found == machines.other.home / "decisions" / "m" / "1.json"
    assert found.read_bytes() == b"\x00\xff first\r\n"
    kept = Path(machines.one.storage or "") / "decisions" / "m" / "1.json"
    assert abs(found.stat().st_mtime - kept.stat().st_mtime) < 1


def test_what_was_written_last_is_what_everybody_reads(machines: Machines) -> None:
    for text, files in (("a", machines.one), ("b", machines.other), ("c", machines.one)):
        with files.whole(files.home / "reports" / "latest.json") as part:
            part.write_text(text)
        for each in (machines.one, machines.other):
            assert each.at("reports", "latest.json").read_text() == text


def test_a_file_whose_name_is_fixed_is_asked_for_once(machines: Machines) -> None:
    path = machines.one.home / "training_sets" / "m" / "digest.parquet"
    with machines.one.whole(path) as part:
        part.write_text("rows")
    found = machines.other.fetch(machines.other.home / "training_sets" / "m" / "digest.parquet", fixed=True)
    assert found.read_text() == "rows"
    (Path(machines.one.storage or "") / "training_sets" / "m" / "digest.parquet").unlink()
    assert machines.other.fetch(found, fixed=True).read_text() == "rows"


def test_where_the_storage_has_none_what_lies_at_home_stays(machines: Machines) -> None:
    """A home that had no storage before loses nothing by getting one."""
    path = machines.one.home / "decisions" / "m" / "1.json"
    path.parent.mkdir(parents=True)
    path.write_text("before")
    assert machines.one.fetch(path).read_text() == "before"
    assert not machines.other.at("decisions", "m", "1.json").exists()
    assert not list(machines.other.home.rglob("*.part"))


def test_a_folder_that_changed_is_the_same_everywhere_and_what_left_it_is_gone(machines: Machines) -> None:
    with machines.one.changing(machines.one.home / "reports" / "m") as folder:
        folder.mkdir(parents=True)
        for name in ("1.json", "2.json"):
            (folder / name).write_text(name)
        (folder / ".half.part").write_text("not yet")
    with machines.other.changing(machines.other.home / "reports" / "m") as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["1.json", "2.json"]
        (folder / "1.json").unlink()
        (folder / "3.json").write_text("3")
    kept = Path(machines.one.storage or "") / "reports" / "m"
    assert sorted(path.name for path in kept.iterdir()) == ["2.json", "3.json"]


def test_what_is_handed_over_lies_in_the_storage_alone(machines: Machines, tmp_path: Path) -> None:
    path = machines.one.home / "archive" / "a.csv"
    path.parent.mkdir(parents=True)
    path.write_text("landed")
    machines.one.hand_over(path)
    assert not path.exists()
    assert machines.one.there(path)
    assert machines.other.at("archive", "a.csv").read_text() == "landed"
    alone = Files(tmp_path / "alone", None)
    kept = alone.home / "archive" / "a.csv"
    kept.parent.mkdir(parents=True)
    kept.write_text("landed")
    alone.hand_over(kept)
    assert kept.read_text() == "landed"


def test_without_a_storage_nothing_is_asked_of_anybody(tmp_path: Path) -> None:
    files = Files(tmp_path, None)
    with files.whole(tmp_path / "a" / "b.json") as part:
        part.write_text("b")
    assert files.at("a", "b.json").read_text() == "b"
    with files.changing(tmp_path / "a") as folder:
        (folder / "b.json").unlink()
    assert not files.there(tmp_path / "a" / "b.json")
    assert files.fetch_all(tmp_path / "a") == tmp_path / "a"


def test_a_removed_file_is_gone_from_home_and_storage(machines: Machines) -> None:
    path = machines.one.home / "a.json"
    with machines.one.whole(path) as part:
        part.write_text("a")
    machines.one.remove(path)
    machines.one.remove(path)
    assert not machines.one.there(path)
    assert not machines.other.at("a.json").exists()


def test_a_store_that_lets_a_second_writer_through_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_without_conditions(str(tmp_path / "good"))
    assert list((tmp_path / "good").rglob("*")) == [tmp_path / "good" / ".evergreen"]

    def careless(self: Objects, name: str, content: bytes) -> bool:
        self.write(name, content)
        return True

    monkeypatch.setattr(objects.Objects, "create", careless)
    with pytest.raises(
        EvergreenError, match=r"If-None-Match.*use a store or release that has conditional writes"
    ):
        refuse_without_conditions(str(tmp_path / "careless"))


def test_a_storage_that_cannot_be_reached_is_told_of_by_its_address_and_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(objects, "RETRIES", {"max_retries": 0})
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "hidden-secret", "AWS_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(EvergreenError, match=r"s3://bucket/lake cannot be read.*try again") as told:
        Objects("s3://bucket/lake").read("a")
    assert "hidden-secret" not in str(told.value)


@pytest.mark.parametrize("scheme", OBJECT_STORES)
def test_lake_and_models_lie_below_the_storage_unless_they_have_a_place_of_their_own(
    scheme: str, tmp_path: Path
) -> None:
    shared = Settings(_env_file=None, home=tmp_path, storage=f"{scheme}://bucket/deep/")
    assert shared.lake_uri == f"{scheme}://bucket/deep/lake"
    assert shared.mlflow_artifacts == f"{scheme}://bucket/deep/mlartifacts"
    own = Settings(_env_file=None, home=tmp_path, storage=f"{scheme}://bucket", lake=str(tmp_path / "l"))
    assert own.lake_uri == str(tmp_path / "l")


def test_a_folder_that_all_mount_is_a_storage_wherever_a_process_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shared = Settings(_env_file=None, home=tmp_path / "home", storage="mounted")
    assert shared.storage == os.path.join(tmp_path, "mounted")
    assert shared.mlflow_artifacts == (tmp_path / "mounted" / "mlartifacts").as_uri()


def test_a_storage_that_nobody_speaks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        EvergreenError, match=r"EVERGREEN_STORAGE ftp://host/x is at no store that is known.*s3://"
    ):
        Settings(_env_file=None, home=tmp_path, storage="ftp://host/x")


def test_what_mlflow_lacks_to_keep_models_at_an_address_is_named_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pipelines.stores.tracking import artifacts

    monkeypatch.setattr(artifacts, "find_spec", lambda name: None)
    with pytest.raises(
        EvergreenError, match=r"s3://b/m: boto3 is not installed; install locks/production.txt"
    ):
        artifacts.refuse_without_client("s3://b/m")
    for address in ("", "/srv/models", "file:///srv/models", "mlflow-artifacts:/1"):
        artifacts.refuse_without_client(address)
