"""Rules of features on Spark: the same silver gives the same features, from Arrow and from Delta's files."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from pipelines.contracts import EvergreenError
from pipelines.features import spark
from pipelines.prove.features import engines
from pipelines.prove.features.engines import compared
from pipelines.settings import PROJECT

MISSING = [name for name in ("pyspark", "sqlglot") if importlib.util.find_spec(name) is None]
needs_spark = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed: locks/spark.txt has them")


@pytest.fixture(scope="module")
def started() -> Iterator[None]:
    try:
        spark.session("local[2]", {"spark.sql.shuffle.partitions": "2"})
    except EvergreenError as error:
        pytest.skip(str(error))
    yield
    spark.stop()


def noon(day: int) -> datetime:
    return datetime(2013, 1, day, 12, tzinfo=UTC)


@needs_spark
@pytest.mark.usefixtures("started")
def test_every_feature_of_every_model_is_the_same_on_both_engines() -> None:
    said: list[str] = []
    proof = engines.prove(None, None, said.append, days=2, master="local[2]")
    assert len(proof.rows) == len(list((PROJECT / "feature_repo").glob("*.sql"))) >= 8
    assert len(said) > len(proof.rows)
    assert all(row["values"] > 0 and row["different"] == 0 for row in proof.rows), proof.failures
    assert proof.holds


@needs_spark
@pytest.mark.usefixtures("started")
def test_a_delta_snapshot_is_read_by_its_files_and_new_columns_are_null_in_old_rows(tmp_path: Path) -> None:
    where, kind = str(tmp_path / "silver"), pa.timestamp("us", "UTC")
    write_deltalake(where, pa.table({"k": ["a", "gone"], "t": pa.array([noon(1), noon(2)], kind)}))
    DeltaTable(where).delete("k = 'gone'")
    later = pa.table({"k": ["b"], "t": pa.array([noon(3)], kind), "gate": pa.array(["C7"])})
    write_deltalake(where, later, mode="append", schema_mode="merge")
    with spark.SparkSilver({"silver": spark.Snapshot.of(DeltaTable(where))}) as silver:
        answer = silver.query(
            "select * from silver where t > $start order by k", {"start": noon(1).replace(hour=0)}
        )
    assert answer.schema.field("t").type == pa.timestamp("us")
    assert answer.to_pylist() == [
        {"k": "a", "t": noon(1).replace(tzinfo=None), "gate": None},
        {"k": "b", "t": noon(3).replace(tzinfo=None), "gate": "C7"},
    ]


@needs_spark
@pytest.mark.usefixtures("started")
def test_an_older_snapshot_and_an_empty_one_stay_readable(tmp_path: Path) -> None:
    where = str(tmp_path / "silver")
    DeltaTable.create(where, pa.schema([("k", pa.int64())]))
    write_deltalake(where, pa.table({"k": [1, 2]}), mode="append")
    for version, count in ((0, 0), (1, 2)):
        with spark.SparkSilver({"silver": spark.Snapshot.of(DeltaTable(where, version=version))}) as silver:
            assert silver.query("select count(*) as n from silver")["n"].to_pylist() == [count]


@needs_spark
def test_a_partitioned_table_is_refused_for_its_files_lack_the_partition(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "t"), pa.table({"k": ["a"], "n": [1]}), partition_by=["k"])
    with pytest.raises(EvergreenError, match="partitions"):
        spark.Snapshot.of(DeltaTable(str(tmp_path / "t")))


@needs_spark
@pytest.mark.usefixtures("started")
def test_a_relation_can_be_shown_as_of_a_moment_by_a_view_of_the_same_sql() -> None:
    known = pa.table(
        {"k": ["a", "a"], "v": [1, 2], "known": pa.array([noon(1), noon(3)], pa.timestamp("us", "UTC"))}
    )
    with spark.SparkSilver({"versions": known}) as silver:
        newest = """
            select k, v from versions where known <= $at
            qualify row_number() over (partition by k order by known desc) = 1
        """
        for at, value, show in (
            (noon(2), 1, silver.view),
            (noon(4), 2, silver.view),
            (noon(2), 1, silver.keep),
        ):
            show("a", newest, {"at": at})
            assert silver.query("select v from a").to_pylist() == [{"v": value}]


@needs_spark
@pytest.mark.usefixtures("started")
def test_one_silver_does_not_see_the_relations_of_another() -> None:
    with spark.SparkSilver({"a": pa.table({"k": [1]})}) as one, spark.SparkSilver() as other:
        assert one.query("select k from a").num_rows == 1
        with pytest.raises(EvergreenError, match=r"Table with name a does not exist"):
            other.query("select k from a")


@needs_spark
@pytest.mark.usefixtures("started")
def test_the_session_listens_on_loopback_without_a_ui_and_counts_in_utc() -> None:
    session = spark.session()
    context = session.sparkContext
    assert context.uiWebUrl is None
    assert context.getConf().get("spark.driver.bindAddress") == "127.0.0.1"
    with spark.SparkSilver() as silver:
        assert silver._session.conf.get("spark.sql.session.timeZone") == "UTC"
        assert silver._session.sparkContext is context


def test_what_is_missing_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvergreenError, match=r"pyspark and sqlglot.*locks/spark\.txt"):
        engines.prove(None, "2013-01", lambda _: None)


def test_importing_the_stage_and_the_proof_loads_no_spark() -> None:
    code = """
import sys, pipelines.prove.features.engines, pipelines.features.spark
assert "pipelines.features.spark" in sys.modules
print(sorted({"pyspark", "sqlglot", "py4j"} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def answer(**columns: Any) -> pa.Table:
    return pa.table(columns)


def test_the_comparison_counts_equal_bits_close_floats_and_names_what_differs() -> None:
    ours = answer(k=["a", "b", "c", None], t=[1, 2, 3, 4], x=[0.1 + 0.2, float("nan"), None, 5.0])
    theirs = answer(k=["b", "a", None, "c"], t=[2, 1, 4, 3], x=[float("nan"), 0.3, 5.0, None])
    found = compared("view", ours, theirs)
    assert (found.rows, found.values, found.equal, found.close, found.different) == (4, 12, 11, 1, 0)
    assert found.failures == []


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (answer(k=["a", "b"], x=[1.0, 2.0 + 1e-9]), "view of k b: x is 2.000000001 on Spark, 2.0 on DuckDB"),
        (answer(k=["a", "b"], x=[1.0, None]), "view of k b: x is None on Spark, 2.0 on DuckDB"),
        (answer(k=["a", "c"], x=[1.0, 2.0]), "view of k b: k is 'c' on Spark, 'b' on DuckDB"),
        (answer(k=["a"], x=[1.0]), "view: 1 rows on Spark, 2 on DuckDB"),
        (
            answer(k=["a", "b"], x=[1, 2]),
            "view: columns k string, x int64 on Spark, k string, x double on DuckDB",
        ),
    ],
)
def test_a_difference_is_a_failure_in_one_sentence(theirs: pa.Table, said: str) -> None:
    found = compared("view", answer(k=["a", "b"], x=[1.0, 2.0]), theirs)
    assert found.different > 0
    assert found.failures == [said]


def test_a_view_without_rows_proves_nothing() -> None:
    nothing = answer(k=pa.array([], pa.string()))
    assert compared("view", nothing, nothing).failures == ["view: no row to compare"]


@needs_spark
@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("name", ["it's 50% off #1", "a{b,c} é", "carrier=UA: +&", "100% (x)"])
def test_a_delta_snapshot_is_read_below_any_folder(tmp_path: Path, name: str) -> None:
    where = str(tmp_path / name / "silver")
    write_deltalake(where, pa.table({"k": ["a"]}))
    write_deltalake(where, pa.table({"k": ["b"]}), mode="append")
    with spark.SparkSilver({"silver": spark.Snapshot.of(DeltaTable(where))}) as silver:
        answer = silver.query("select * from silver order by k")
    assert answer.to_pylist() == [{"k": "a"}, {"k": "b"}]
