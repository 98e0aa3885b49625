"""A backup is of one instant, and what is made again from it is the deployment as it was then, wherever it lies."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.backup import manifest, restoring, taking
from pipelines.backup.addresses import moved
from pipelines.backup.lake import versions
from pipelines.backup.vault import Vault
from pipelines.catalog import dataset
from pipelines.contracts import EvergreenError
from pipelines.erasure.erase import erase
from pipelines.erasure.subjects import sought
from pipelines.ingestion.arrivals import kept
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.prove.erasure.residues import residues
from pipelines.prove.promotion.world import World, opened
from pipelines.record.verification import verify
from pipelines.settings import Settings
from pipelines.stores import Stores
from tests.champions import copied, crowned

CARDS = ("C00001", "C00002", "C00003")
VALUES = {"string": "x", "integer": "1", "float": "1.5", "timestamp": "2018-04-01T00:00:00Z"}
HEAD = "faa,name,lat,lon,alt,tzone,registered_at,available_at\n"
LATER = timedelta(hours=1)


def silent(_: str) -> None:
    """Nobody is told."""


def land(stores: Stores, *codes: str) -> None:
    """A file of airports, one a row."""
    rows = [
        f"{code},{code} field,40.0,-70.0,10,America/New_York,2012-01-01T00:00:00Z,2012-01-01T00:00:00Z"
        for code in codes
    ]
    path = stores.settings.landing_path / f"airports_{codes[0]}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + "\n".join(rows) + "\n")


def take_in(stores: Stores) -> list[str]:
    return [result.state.value for result in ingest_dataset(dataset("airports"), stores)]


def airports(stores: Stores) -> list[str]:
    return sorted(stores.tables.silver(dataset("airports")).to_table()["faa"].to_pylist())


def at(home: Path) -> Settings:
    return Settings(_env_file=None, home=home)


@pytest.fixture
def source(tmp_path: Path, hardly_judged: None) -> Stores:
    """A deployment that has taken one file in."""
    stores = Stores(at(tmp_path / "here"))
    land(stores, "AAA", "BBB")
    assert take_in(stores) == ["archived"]
    return stores


def gone(stores: Stores) -> None:
    """The machine that was backed up is no more."""
    shutil.rmtree(stores.settings.home)


def test_what_was_taken_in_is_there_again_and_is_not_taken_in_twice(source: Stores, tmp_path: Path) -> None:
    taken = taking.backup(source, tmp_path / "kept", silent)
    gone(source)
    done = restoring.restore(tmp_path / "kept", None, at(tmp_path / "there" / "home"), "me", silent)
    assert (done.name, done.files, done.findings, done.unverified) == (taken.name, taken.files, [], [])
    stores = Stores(at(tmp_path / "there" / "home"))
    assert airports(stores) == ["AAA", "BBB"]
    land(stores, "AAA", "BBB")
    assert take_in(stores) == []
    assert airports(stores) == ["AAA", "BBB"]
    said = [entry.action for entry in stores.audit.entries()]
    assert said[-1] == "restore"
    assert verify(stores, datetime.now(UTC) + LATER) == []


def test_what_is_taken_in_during_a_backup_is_whole_and_once_on_both_sides(
    source: Stores, tmp_path: Path
) -> None:
    """The instant comes first; the second file is taken in while files are copied, the third lands only."""
    told: list[str] = []

    def meanwhile(text: str) -> None:
        if not told:
            land(source, "CCC")
            assert take_in(source) == ["archived"]
            land(source, "DDD")
        told.append(text)

    taking.backup(source, tmp_path / "kept", meanwhile)
    assert "as of" in told[0]
    assert airports(source) == ["AAA", "BBB", "CCC"]
    done = restoring.restore(tmp_path / "kept", None, at(tmp_path / "there"), "me", silent)
    assert done.findings == []
    stores = Stores(at(tmp_path / "there"))
    assert airports(stores) == ["AAA", "BBB"]
    assert sorted(path.name for path in stores.settings.landing_path.iterdir()) == [
        "airports_CCC.csv",
        "airports_DDD.csv",
    ]
    assert take_in(stores) == ["archived"] * 2
    assert airports(stores) == ["AAA", "BBB", "CCC", "DDD"]
    assert verify(stores, datetime.now(UTC) + LATER) == []


def test_a_backup_copies_only_what_is_new_and_any_of_a_folder_can_be_restored(
    source: Stores, tmp_path: Path
) -> None:
    first = taking.backup(source, tmp_path / "kept", silent)
    land(source, "CCC")
    assert take_in(source) == ["archived"]
    second = taking.backup(source, tmp_path / "kept", silent)
    assert 0 < second.added < second.bytes
    assert manifest.names(Vault(tmp_path / "kept")) == [first.name, second.name]
    for name, there in ((first.name, ["AAA", "BBB"]), (None, ["AAA", "BBB", "CCC"])):
        home = tmp_path / f"home-{len(there)}"
        assert restoring.restore(tmp_path / "kept", name, at(home), "me", silent).findings == []
        assert airports(Stores(at(home))) == there


def test_every_file_that_is_changed_or_gone_is_named_and_nothing_is_restored(
    source: Stores, tmp_path: Path
) -> None:
    taking.backup(source, tmp_path / "kept", silent)
    vault, there = Vault(tmp_path / "kept"), at(tmp_path / "there")
    entries = [entry for entry in manifest.read(vault).manifest.files if entry.size]
    assert len({entry.name.split("/")[0] for entry in entries}) >= 4
    for entry in entries:
        place = vault.place(entry.sha256)
        whole = place.read_bytes()
        for broken in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), None):
            place.unlink() if broken is None else place.write_bytes(broken)
            with pytest.raises(EvergreenError, match=entry.sha256):
                restoring.restore(tmp_path / "kept", None, there, "me", silent)
            place.write_bytes(whole)
    assert not there.home.exists()
    assert restoring.check(tmp_path / "kept", None, there, silent)[1].name


def test_a_manifest_that_was_changed_is_refused(source: Stores, tmp_path: Path) -> None:
    taken = taking.backup(source, tmp_path / "kept", silent)
    path = tmp_path / "kept" / "manifests" / f"{taken.name}.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"tables": {}}))
    with pytest.raises(EvergreenError, match="was changed, or another deployment signed it"):
        restoring.check(tmp_path / "kept", None, at(tmp_path / "there"), silent)


@pytest.mark.parametrize("name", ["home/../../x", "/etc/passwd", "elsewhere/x", "home", "home/a\0b"])
def test_a_manifest_leads_nowhere_but_into_the_deployment(name: str) -> None:
    with pytest.raises(ValueError, match="leads out of the deployment"):
        manifest.Entry(name=name, sha256="0" * 64, size=1)


def test_another_deployment_and_a_home_in_use_are_refused(source: Stores, tmp_path: Path) -> None:
    taking.backup(source, tmp_path / "kept", silent)
    other = Stores(at(tmp_path / "other"))
    other.keys.sign(b"")
    with pytest.raises(EvergreenError, match="another deployment signed it"):
        restoring.restore(tmp_path / "kept", None, other.settings, "me", silent)
    with pytest.raises(EvergreenError, match="is not empty"):
        restoring.restore(tmp_path / "kept", None, source.settings, "me", silent)
    assert airports(source) == ["AAA", "BBB"]


def test_a_backup_that_was_cut_off_is_none_and_goes_on(
    source: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, left = Vault.put, [9]

    def failing(self: Vault, path: Path) -> tuple[str, int]:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return put(self, path)

    with monkeypatch.context() as patched:
        patched.setattr(Vault, "put", failing)
        with pytest.raises(KeyboardInterrupt):
            taking.backup(source, tmp_path / "kept", silent)
    with pytest.raises(EvergreenError, match="no complete backup"):
        restoring.check(tmp_path / "kept", None, at(tmp_path / "there"), silent)
    taken = taking.backup(source, tmp_path / "kept", silent)
    assert taken.added < taken.bytes
    assert restoring.restore(tmp_path / "kept", None, at(tmp_path / "there"), "me", silent).findings == []


@pytest.mark.parametrize("files", [0, 3, 8])
def test_a_restore_that_was_cut_off_is_not_believed_and_goes_on(
    files: int, source: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking.backup(source, tmp_path / "kept", silent)
    fetch, left, there = Vault.fetch, [files], at(tmp_path / "there")

    def failing(self: Vault, *asked: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        fetch(self, *asked)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Vault, "fetch", failing)
        with pytest.raises(KeyboardInterrupt):
            restoring.restore(tmp_path / "kept", None, there, "me", silent)
    with pytest.raises(EvergreenError, match="half restored"):
        Stores(there)
    assert restoring.restore(tmp_path / "kept", None, there, "me", silent).findings == []
    assert airports(Stores(there)) == ["AAA", "BBB"]


def test_a_backup_without_keys_holds_none_and_says_what_nobody_can_verify(
    source: Stores, tmp_path: Path
) -> None:
    secrets = source.settings.home / "secrets" / "airflow_passwords.json"
    secrets.parent.mkdir()
    secrets.write_text('{"admin": "very secret indeed"}')
    taking.backup(source, tmp_path / "kept", silent, keys=False)
    held = [path.read_bytes() for path in (tmp_path / "kept").glob("objects/*/*")]
    keys = [path.read_bytes() for path in source.settings.keys_path.iterdir()]
    assert len(keys) == 3
    assert len(held) > 5
    assert not [1 for each in held for key in (*keys, b"very secret") if key in each]
    done = restoring.restore(tmp_path / "kept", None, at(tmp_path / "there"), "me", silent)
    assert "audit.key" in done.unverified[0]
    assert "cannot be checked" in done.signed
    shutil.copytree(source.settings.keys_path, tmp_path / "there" / "keys")
    assert verify(Stores(at(tmp_path / "there")), datetime.now(UTC) + LATER) == []


def test_only_the_owner_can_read_a_backup(source: Stores, tmp_path: Path) -> None:
    taking.backup(source, tmp_path / "kept", silent)
    paths = list((tmp_path / "kept").rglob("*"))
    assert len(paths) > 20
    assert not [
        path for path in paths if path.is_file() and path.name != "lock" and path.stat().st_mode & 0o077
    ]
    assert not [path for path in paths if path.is_dir() and path.stat().st_mode & 0o077]


def test_a_version_of_a_table_is_copied_with_all_before_it_and_nothing_after(
    source: Stores, tmp_path: Path
) -> None:
    before = versions(tmp_path / "here" / "lake")
    assert before == {"silver/airports": 1}

    def meanwhile(text: str) -> None:
        if "as of" in text:
            land(source, "CCC")
            take_in(source)
            source.tables.table("silver", "airports").optimize.compact()  # type: ignore[union-attr]

    taking.backup(source, tmp_path / "kept", meanwhile)
    restoring.restore(tmp_path / "kept", None, at(tmp_path / "there"), "me", silent)
    assert versions(tmp_path / "there" / "lake") == before
    data = {p.name for p in (tmp_path / "there" / "lake" / "silver" / "airports").glob("*.parquet")}
    assert len(data) == 1


@pytest.mark.parametrize("to", ["here/kept", "here"])
def test_a_backup_within_what_it_copies_is_refused(to: str, source: Stores, tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match="lies inside"):
        taking.backup(source, tmp_path / to, silent)
    with pytest.raises(EvergreenError, match="goes into a folder"):
        taking.backup(source, Path("s3://bucket/kept"), silent)


@pytest.fixture(scope="module")
def champions(tmp_path_factory: pytest.TempPathFactory) -> World:
    return crowned(tmp_path_factory)


def test_a_champion_restored_elsewhere_answers_the_same_bits(champions: World, tmp_path: Path) -> None:
    """And its record is whole, its files are fetched from where they lie now, and the next version can be judged."""
    here = copied(champions, tmp_path / "here")
    stores = here.stores
    first = {"home": str(champions.home), "artifacts": (champions.home / "mlartifacts").as_uri()}
    assert moved(first, stores.settings) > 10  # the copy's rows lead to what it was copied from
    assert moved(first, stores.settings) == 0
    name = here.spec.name
    rows = list((tmp_path / "here" / "training_sets" / name).glob("*.parquet"))
    assert rows
    import pandas as pd

    asked = pd.read_parquet(rows[0])
    champion = stores.tracking.champion(name)
    assert champion is not None
    fitted = stores.tracking.load(name, champion.version)
    asked = asked[list(fitted.feature_names_in_)]
    before = fitted.predict_proba(asked)
    taking.backup(stores, tmp_path / "kept", silent)
    gone(stores)
    done = restoring.restore(
        tmp_path / "kept", None, opened(tmp_path / "else" / "where").settings, "me", silent
    )
    assert done.findings == []
    assert done.moved > 10
    again = opened(tmp_path / "else" / "where")
    found = again.tracking.champion(name)
    assert found is not None
    assert (found.version, found.digest) == (champion.version, champion.digest)
    assert (again.tracking.load(name, found.version).predict_proba(asked) == before).all()
    assert again.tracking.licence(found).digest == champion.digest
    assert verify(again, datetime.now(UTC) + LATER) == []


def test_what_machines_share_is_backed_up_from_their_storage_and_lies_in_the_new_one(
    tmp_path: Path, hardly_judged: None
) -> None:
    """The archive is nowhere else, and of what has copies at home the storage's counts."""

    def deployed(name: str) -> Stores:
        home = tmp_path / name / "home"
        return Stores(Settings(_env_file=None, home=home, storage=str(tmp_path / name / "storage")))

    stores = deployed("here")
    land(stores, "AAA", "BBB")
    assert take_in(stores) == ["archived"]
    [batch] = stores.ledger.batches("airports")
    assert not list((stores.settings.home / "archive").rglob("*.csv"))
    (tmp_path / "here" / "storage" / "decisions" / "m").mkdir(parents=True)
    (tmp_path / "here" / "storage" / "decisions" / "m" / "1.json").write_text("by another machine")
    taking.backup(stores, tmp_path / "kept", silent)
    shutil.rmtree(tmp_path / "here")
    there = deployed("there")
    done = restoring.restore(tmp_path / "kept", None, there.settings, "me", silent)
    assert (done.findings, done.unverified) == ([], [])
    assert airports(there) == ["AAA", "BBB"]
    assert (tmp_path / "there" / "storage" / "decisions" / "m" / "1.json").read_text() == "by another machine"
    shutil.rmtree(there.settings.home / "archive")
    assert kept(batch, there).read_text().startswith(HEAD)
    assert verify(there, datetime.now(UTC) + LATER) == []


def test_who_was_erased_after_a_backup_does_not_come_back_with_it(
    tmp_path: Path, hardly_judged: None
) -> None:
    stores = Stores(at(tmp_path / "here"))
    spec = dataset("card_customers")
    rows = [
        ",".join({"customer_id": name}.get(c, VALUES[spec.columns[c].type]) for c in spec.columns)
        for name in CARDS
    ]
    path = stores.settings.landing_path / "card_customers_1.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(spec.columns), *rows]) + "\n")
    assert [each.state.value for each in ingest_dataset(spec, stores)] == ["archived"]
    taking.backup(stores, tmp_path / "kept", silent)
    asked = sought([f"card_customers.customer_id={CARDS[1]}"])
    assert erase(asked, stores, "a person asked for it", datetime.now(UTC)).rows > 0
    book = shutil.copyfile(stores.settings.home / "erasures.jsonl", tmp_path / "erasures.jsonl")
    gone(stores)
    told: list[str] = []
    done = restoring.restore(tmp_path / "kept", None, at(tmp_path / "there"), "me", told.append, book)
    assert done.findings == []
    assert any("erased again" in text for text in told)
    there = Stores(at(tmp_path / "there"))
    assert sorted(there.tables.silver(spec).to_table()["customer_id"].to_pylist()) == [CARDS[0], CARDS[2]]
    assert residues(tmp_path / "there", [CARDS[1]]) == {}
