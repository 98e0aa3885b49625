"""Rules of reproduction: a version is made again from its record alone, and what differs is named."""

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from deltalake import DeltaTable

from pipelines import catalog
from pipelines.contracts import EvergreenError
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores
from pipelines.stores.audit.log import Entry
from pipelines.training.rebuild import record
from pipelines.training.reproduce import Reproduction, reproduce
from pipelines.training.train import train
from pipelines.training.training_set import build
from tests.commands import ran
from tests.integration.conftest import AS_OF
from tests.once import copied_home

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
REAL = catalog.model("flight_delays")
SPEC = REAL.model_copy(
    update={
        "training": REAL.training.model_copy(update={"minimum_rows": 500}),
        "parameters": REAL.parameters | {"max_iter": 60},
    }
)


@pytest.fixture(scope="module")
def trained(computed: Stores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one version, trained on real flights with the project's own spec, but for fewer trees."""
    home = tmp_path_factory.mktemp("trained")
    copied_home(computed.settings.home, home)
    stores = Stores(Settings(_env_file=None, home=home))
    rows = build(SPEC, AS_OF, stores)
    assert rows.rows > 500
    assert rows.holdout_rows > 500
    assert train(SPEC, rows, stores).version == 1
    return home


def at(home: Path) -> Stores:
    return Stores(Settings(_env_file=None, home=home))


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Stores:
    """A copy of the lake and the database to break; MLflow stays where it is."""
    copied_home(trained, tmp_path)
    return at(tmp_path)


def files(home: Path) -> dict[str, int]:
    """Every file of a home with the time it was written, but those in which every reader leaves a trace."""
    found = (path for path in home.rglob("*") if path.is_file())
    kept = [p for p in found if p.name not in {"evergreen.db"} and p.suffix not in {".db-wal", ".db-shm"}]
    return {
        str(p.relative_to(home)): p.stat().st_mtime_ns for p in kept if p.parts[-2] not in {"audit", "locks"}
    }


@dataclass(frozen=True)
class Once:
    """A version made again once, and what the home held before and after."""

    answer: Reproduction
    before: tuple[dict[str, int], int]
    after: tuple[dict[str, int], int]
    entry: Entry


@pytest.fixture(scope="module")
def made(trained: Path) -> Once:
    """Of a version whose MLmodel was fetched before, as whoever asks for its columns first does."""
    stores = at(trained)
    assert stores.tracking.inputs(stores.tracking.version(SPEC.name, 1))

    def held() -> tuple[dict[str, int], int]:
        return files(trained), len(stores.tracking.client.search_runs(["1"]))

    before = held()
    answer, after = reproduce(SPEC, 1, stores, NOW), held()
    (entry,) = stores.audit.entries("model:flight_delays@1", "reproduce", limit=1)
    return Once(answer, before, after, entry)


def test_the_same_checkout_makes_the_same_rows_answers_and_model(made: Once) -> None:
    answer = made.answer
    assert {each.what: each.equal for each in answer.compared} == {
        "training set": True, "answers": True, "model": True,
    }  # fmt: skip
    assert answer.reproduced
    assert not [each for each in answer.differences if each.decisive]
    assert answer.rows > 500


def test_nothing_is_written_but_an_entry_in_the_audit_log(made: Once) -> None:
    there, runs = made.before
    assert there
    assert runs
    assert made.answer.reproduced
    assert dict(made.after[0].items() ^ there.items()) == {}
    assert made.after[1] == runs
    assert made.entry.why == "reproduced"
    answers = made.entry.evidence["answers"]
    assert answers["recorded"] == answers["made"]


def test_neither_the_training_set_nor_tables_as_they_were_need_be_there(own: Stores) -> None:
    """Rows that landed or were compacted since change nothing, nor does a training set that is gone."""
    shutil.rmtree(own.settings.home / "training_sets")
    for name in ("carrier_delays/v1", "origin_weather/v1"):
        table = own.tables.table("features", name)
        version = table.version()
        own.tables.replace("features", name, table.to_pyarrow_table().slice(0, 10), None)
        assert own.tables.version("features", name) > version
    assert reproduce(SPEC, 1, own, NOW).reproduced


def test_other_threads_and_parameters_are_told_of_and_the_recorded_ones_used(trained: Path) -> None:
    """Today's parameters would make another model."""
    other = Stores(Settings(_env_file=None, home=trained, threads=6))
    changed = SPEC.model_copy(update={"parameters": {**SPEC.parameters, "max_iter": 5}})
    answer = reproduce(changed, 1, other, NOW)
    assert answer.reproduced
    assert ("threads", "1", "3") in [(d.name, d.recorded, d.here) for d in answer.differences]
    assert [(d.name, d.recorded, d.here) for d in answer.differences if d.kind == "parameters"] == [
        ("max_iter", "60", "5")
    ]


def test_tables_that_were_vacuumed_are_named(own: Stores) -> None:
    table = own.tables.table("features", "carrier_delays/v1")
    own.tables.replace("features", "carrier_delays/v1", table.to_pyarrow_table().slice(0, 10), None)
    gone = DeltaTable(own.tables.uri("features", "carrier_delays/v1")).vacuum(
        retention_hours=0, dry_run=False, enforce_retention_duration=False
    )
    assert gone
    with pytest.raises(
        EvergreenError, match=r"files of features/carrier_delays/v1 version \d+ were vacuumed"
    ):
        reproduce(SPEC, 1, own, NOW)


def test_a_changed_value_in_the_lake_is_found_and_its_column_named(own: Stores) -> None:
    """Somebody rewrites a table's file in place: the digests of rows and answers are others."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    folder = Path(own.tables.uri("features", "carrier_delays/v1"))
    changed = sorted(folder.rglob("*.parquet"))
    assert changed
    for path in changed:
        rows = pq.ParquetFile(path).read()
        place = rows.schema.get_field_index("late_share_7d")
        column = pc.abs(pc.subtract(rows.column(place), 0.2)).cast(rows.schema.field(place).type)
        pq.write_table(rows.set_column(place, rows.schema.field(place), column), path)
    answer = reproduce(SPEC, 1, own, NOW)
    assert not answer.reproduced
    found = {each.what: each for each in answer.compared}
    assert found["training set"].how == "other values in carrier_delays__late_share_7d"
    assert "rows answered otherwise" in found["answers"].how


def test_a_run_whose_tags_were_edited_is_refused(own: Stores) -> None:
    version = own.tracking.version("flight_delays", 1)
    tables = json.loads(own.tracking.client.get_run(version.run_id).data.tags["delta_versions"])
    name = sorted(tables)[0]
    own.tracking.client.set_tag(
        version.run_id, "delta_versions", json.dumps(tables | {name: tables[name] + 1})
    )
    with pytest.raises(EvergreenError, match="not those flight_delays@1 was signed for"):
        record(version, own)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a fresh clone would have it, in another place; to be run, not changed."""
    there = tmp_path_factory.mktemp("elsewhere")
    leave = shutil.ignore_patterns("__pycache__", "*.pyc")
    for part in ("pipelines", "feature_repo", "expectations", "locks"):
        shutil.copytree(PROJECT / part, there / part, ignore=leave)
    (there / "pyproject.toml").write_text((PROJECT / "pyproject.toml").read_text())
    return there


def test_another_checkout_makes_the_same_digests(trained: Path, clone: Path) -> None:
    (done,) = ran(clone, trained, ("reproduce", "flight_delays@1", "--json"))
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["reproduced"]
    assert len(answer["compared"]) == 3
    assert all(each["equal"] for each in answer["compared"])


def test_a_checkout_with_another_model_is_refused_and_tried_anyway(
    trained: Path, clone: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(clone, tmp_path / "other")
    path = other / "pipelines/models/flight_delays/spec.yaml"
    assert "holdout: 7d" in path.read_text()
    path.write_text(path.read_text().replace("holdout: 7d", "holdout: 6d"))
    asked = ("reproduce", "flight_delays@1")
    refused, tried = ran(other, trained, asked, (*asked, "--anyway", "--json"))
    assert refused.returncode == 1
    assert "spec.yaml changed" in refused.stderr
    assert "holdout: 6d" in refused.stderr
    assert tried.returncode == 1
    answer = json.loads(tried.stdout)
    assert not answer["reproduced"]
    assert "rows" in next(each["how"] for each in answer["compared"] if each["what"] == "training set")
