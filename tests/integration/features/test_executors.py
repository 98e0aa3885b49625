"""Rules of a Spark cluster: its executors write what DuckDB would have, exactly once, whoever dies.

The cluster is a real one of three processes on this machine; executors are processes of their workers.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from pipelines.contracts import EvergreenError
from pipelines.features import compute, spark
from pipelines.prove.features.engines import compared
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.offline import asof_spark, questions, store
from pipelines.stores.offline.sources import Source
from pipelines.stores.offline.store import DeltaOfflineStoreConfig, Lookup
from pipelines.stores.spark.sessions import check_reaches
from pipelines.stores.spark.staged import Staging
from pipelines.stores.tables import rows_of
from tests.clusters import MISSING, Cluster, standalone
from tests.once import copied_home

pytestmark = pytest.mark.skipif(
    bool(MISSING),
    reason=f"{' and '.join(MISSING)} missing: locks/spark.txt and a Java runtime of 17 or later",
)
CONF = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.executor.memory": "512m",
    "spark.sql.shuffle.partitions": "3",
}
VIEW = "origin_weather"
ZONED = pa.timestamp("us", "UTC")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standalone(tmp_path_factory.mktemp("cluster")) as started:
        spark.session(started.master, CONF)
        yield started
        spark.stop()


@pytest.fixture
def sides(january: Path, tmp_path: Path, cluster: Cluster) -> tuple[Stores, Stores]:
    """Two homes of the same silver: one computes on DuckDB, one on the cluster."""
    conf = ",".join(f"{name}={value}" for name, value in CONF.items())
    engines: list[dict[str, Any]] = [
        {},
        {"feature_engine": "spark", "spark_master": cluster.master, "spark_conf": conf},
    ]
    homes = [copied_home(january, tmp_path / str(n)) for n in range(2)]
    ours, theirs = (
        Stores(Settings(_env_file=None, home=home, **chosen))
        for home, chosen in zip(homes, engines, strict=True)
    )
    return ours, theirs


def day(number: int) -> datetime:
    return datetime(2012, 12, 31, tzinfo=UTC) + timedelta(days=number)


def written(stores: Stores, *windows: tuple[int, int]) -> None:
    for first, last in windows:
        compute.write(stores.features.version(VIEW), (day(first), day(last)), stores, lambda _: None)


def table(stores: Stores) -> pa.Table:
    return rows_of(DeltaTable(stores.tables.uri("features", stores.features.version(VIEW).table))).to_table()


def assert_equal(ours: Stores, theirs: Stores) -> None:
    found = compared(VIEW, table(ours), table(theirs))
    assert found.values > 1000
    assert (found.different, found.failures) == (0, [])


def test_the_cluster_is_one_of_other_processes_and_the_driver_is_where_its_settings_say(
    cluster: Cluster,
) -> None:
    context = spark.session(cluster.master).sparkContext
    assert context.master.startswith("spark://")
    assert context.getConf().get("spark.driver.host") == "127.0.0.1"
    assert context.getConf().get("spark.executor.memory") == "512m"
    assert context.uiWebUrl is None


def test_executors_write_what_duckdb_does_window_by_window_and_again(sides: tuple[Stores, Stores]) -> None:
    """The third window begins and ends within files of the first two, whose other rows stay."""
    for each in sides:
        written(each, (0, 5), (5, 8), (3, 6))
    assert_equal(*sides)
    files = DeltaTable(sides[1].tables.uri("features", sides[1].features.version(VIEW).table)).file_uris()
    assert files
    assert all("/staged-" in file for file in files), "the driver wrote none of them"
    before = table(sides[1]).num_rows
    written(sides[1], (3, 6))
    assert table(sides[1]).num_rows == before
    assert_equal(*sides)


def test_a_try_that_dies_before_its_commit_leaves_no_row_and_the_next_makes_all(
    sides: tuple[Stores, Stores], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = sides
    for each in sides:
        written(each, (0, 5))
    with monkeypatch.context() as patched:

        def dies(*_: Any) -> bool:
            raise KeyboardInterrupt

        patched.setattr(Staging, "commit", dies)
        patched.setattr(Staging, "forget", lambda *_: None)  # as if killed: what was written stays
        with pytest.raises(KeyboardInterrupt):
            written(theirs, (5, 8))
    assert_equal(ours, theirs)
    for each in sides:
        written(each, (5, 8))
    assert_equal(ours, theirs)


def test_a_lake_that_spark_has_no_file_system_for_is_refused_with_the_remedy(cluster: Cluster) -> None:
    session = spark.session(cluster.master)
    check_reaches(session, "/a/folder")
    for lake, artifact in (
        ("s3://bucket/lake", "hadoop-aws"),
        ("gs://b/lake", "gcs-connector"),
        ("abfss://c@a/lake", "hadoop-azure"),
    ):
        with pytest.raises(EvergreenError, match=rf"{artifact}.*spark-defaults\.conf.*FEATURE_ENGINE=duckdb"):
            check_reaches(session, lake)


def history(folder: Path, rows: int, keys: int) -> None:
    """Rows of which many are late, tie in their times, lack a value or a key, or hold NaN."""
    rng = np.random.default_rng(5)
    event = rng.integers(0, 500, rows)
    known = event + rng.choice([0, 0, 3, 200], rows)
    numbers = rng.choice([0.5, -1.25, np.nan, 3.0], rows)
    columns = {
        "k": pa.array([None if n == keys else f"é{n}" for n in rng.integers(0, keys + 1, rows)], pa.string()),
        "n": pa.array(rng.integers(0, 2, rows)),
        "event": pa.array(event, pa.int64()).cast(ZONED),
        "created": pa.array([None if n % 97 == 0 else int(t) for n, t in enumerate(known)], pa.int64()).cast(
            ZONED
        ),
        "x": pa.array(numbers, mask=rng.random(rows) < 0.1, from_pandas=False),
        "e": pa.array(rng.integers(0, 4, rows)),
        "label": pa.array(rng.choice(["a", "b", "ä", ""], rows)),
    }
    found = pa.table(columns)
    for part in (found.slice(0, rows // 2), found.slice(rows // 2)):
        write_deltalake(str(folder), part, mode="append")


def asked(rows: int, keys: int) -> pa.Table:
    rng = np.random.default_rng(6)
    moments = pa.array([None if n % 53 == 0 else int(t) for n, t in enumerate(rng.integers(0, 800, rows))])
    return pa.table(
        {
            "k": pa.array(
                [None if n > keys else f"é{n}" for n in rng.integers(0, keys + 2, rows)], pa.string()
            ),
            "n": pa.array(rng.integers(0, 2, rows), pa.int32()),
            "event_timestamp": moments.cast(pa.int64()).cast(ZONED),
        }
    )


@pytest.mark.parametrize(("keys", "ttl"), [(["k", "n"], 60), (["k"], 0), ([], 60)])
def test_the_point_in_time_join_is_the_same_on_spark_and_on_duckdb_to_the_bit(
    tmp_path: Path, cluster: Cluster, keys: list[str], ttl: int
) -> None:
    history(tmp_path / "h", 6000, 20)
    rows = asked(2000, 20)
    place = Source("h", str(tmp_path / "h"), True)
    features = {"value": "x", "e": "e", "label": "label", "seen": "created"}
    lookup = Lookup(
        place, {key: key for key in keys}, "event", "created", timedelta(microseconds=ttl), features
    )
    settings = DeltaOfflineStoreConfig(
        lake=str(tmp_path), engine="spark", spark_master=cluster.master, spark_conf=CONF
    )
    question = questions.Questions(rows.schema, "event_timestamp", lambda: rows)
    assert asof_spark.chosen(settings, place)
    ours = store._values(settings, question, lookup, 1)
    theirs = store._values(settings, question, lookup, 1, far=True)
    assert theirs.schema == ours.schema
    assert 0 < theirs["e"].null_count < len(rows)
    for name in ours.column_names:
        left, right = (side[name].combine_chunks() for side in (ours, theirs))
        assert left.is_null().equals(right.is_null())
        values = [side.drop_null().to_numpy(zero_copy_only=False) for side in (left, right)]
        np.testing.assert_array_equal(*values, err_msg=name)


def test_a_table_is_joined_on_spark_by_setting_or_by_its_rows(tmp_path: Path) -> None:
    history(tmp_path / "h", 100, 3)
    place = Source("h", str(tmp_path / "h"), True)
    for engine, least, there in (
        ("duckdb", 1, False),
        ("auto", 101, False),
        ("auto", 100, True),
        ("spark", 10**9, True),
    ):
        settings = DeltaOfflineStoreConfig(lake=str(tmp_path), engine=engine, spark_rows=least)
        assert asof_spark.chosen(settings, place) is there
    assert not asof_spark.chosen(settings, Source("p", str(tmp_path / "p.parquet"), False))


def test_a_worker_that_is_killed_costs_no_row(sides: tuple[Stores, Stores], cluster: Cluster) -> None:
    """Last of all: the cluster goes on with one worker."""
    ours, theirs = sides
    for each in sides:
        written(each, (0, 4))
    cluster.workers[0].kill()
    cluster.workers[0].wait(30)
    for each in sides:
        written(each, (4, 7))
    assert_equal(ours, theirs)
