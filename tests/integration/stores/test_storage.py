"""Rules of two machines on one storage: each has a home of its own, and what one decided the other can act on."""

import shutil
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from pydantic import SecretStr

from pipelines.contracts import TrainingSet
from pipelines.gate import evaluate, record
from pipelines.places import sqlite_url
from pipelines.promotion.promote import promote
from pipelines.prove.promotion.world import World
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import CHAMPION, Version, file_digest
from pipelines.training.train import candidate
from pipelines.training.training_set import path_of
from tests.champions import copied, crowned

SHARED = ("decisions", "training_sets", "audit")


@pytest.fixture
def machines(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Stores, Stores]:
    """A deployment with a champion, and two machines that have its database, MLflow, keys and storage; no disk."""
    world = copied(crowned(tmp_path_factory), tmp_path / "before")
    storage = tmp_path / "storage"
    for name in SHARED:
        shutil.copytree(world.home / name, storage / name)
        shutil.rmtree(world.home / name)
    first, second = (_machine(world, tmp_path / name, storage) for name in ("first", "second"))
    return world, first, second


def _machine(world: World, home: Path, storage: Path) -> Stores:
    at = {
        "database_url": SecretStr(sqlite_url(world.home / "evergreen.db")),
        "tracking_uri": SecretStr(sqlite_url(world.home / "mlflow.db")),
        "keys": world.home / "keys",
    }
    return Stores(Settings(_env_file=None, home=home, storage=str(storage), **at), "a person")


def _rows(world: World, found: Version, stores: Stores) -> TrainingSet:
    """What a version was trained on, as this machine finds it."""
    path = path_of(world.spec.name, found.tags["training_set"], stores)
    held = pd.read_parquet(path, columns=["label", "split"])
    learned = held[held["split"] == "train"]
    return TrainingSet(
        model=world.spec.name, as_of=found.as_of, digest=found.tags["training_set"], path=str(path),
        rows=len(learned), positives=int(learned["label"].sum()), holdout_start=found.as_of - timedelta(days=7),
        holdout_rows=len(held) - len(learned), versions={"silver/flights": 1}, content=file_digest(path),
    )  # fmt: skip


def test_a_version_that_one_machine_judged_another_promotes(machines: tuple[World, Stores, Stores]) -> None:
    world, first, second = machines
    assert first.tracking.named(world.spec.name, CHAMPION) == 2
    found = first.tracking.version(world.spec.name, 1)
    verdict = evaluate(world.spec, candidate(found), _rows(world, found, first), first, first.audit.now())
    assert verdict.decision == "PASS"
    assert not (second.settings.home / "decisions").exists()
    judged = second.tracking.version(world.spec.name, 1)
    assert record.read(judged, second).judged_at == verdict.judged_at
    assert len(record.evidence(record.read(judged, second), second)) == verdict.rows
    assert promote(world.spec, 1, second, second.audit.now()).promoted
    assert first.tracking.named(world.spec.name, CHAMPION) == 1
    assert [stores.audit.verify() for stores in (first, second)] == [[], []]


def test_rows_that_one_machine_learned_from_are_those_that_another_reads(
    machines: tuple[World, Stores, Stores],
) -> None:
    world, first, second = machines
    found = first.tracking.version(world.spec.name, 1)
    paths = [path_of(world.spec.name, found.tags["training_set"], stores) for stores in (first, second)]
    assert paths[0] != paths[1]
    assert paths[0].read_bytes() == paths[1].read_bytes() != b""


def test_the_end_of_the_log_cannot_be_cut_off_unseen_by_either(
    machines: tuple[World, Stores, Stores],
) -> None:
    import sqlalchemy as sa

    from pipelines.stores.audit.log import AUDIT

    _, first, second = machines
    first.audit.append(first.audit.now(), "a person", "note", "nothing", "the last entry")
    with sa.create_engine(second.settings.database).begin() as connection:
        last = connection.execute(sa.select(sa.func.max(AUDIT.c.number))).scalar_one()
        connection.execute(sa.delete(AUDIT).where(AUDIT.c.number == last))
    assert any("gone from the end" in str(finding) for finding in second.audit.verify())
