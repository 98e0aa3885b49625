"""What users of any Feast offline store expect, asked of a real FeatureStore with a real registry.

The cases follow Feast's universal tests of offline stores: retrieval, writing, persisting, logging, materializing.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.data_format import DeltaFormat, ParquetFormat
from feast.data_source import PushMode, PushSource, RequestSource
from feast.errors import (
    EntityTimestampInferenceException,
    FeastEntityDFMissingColumnsError,
    FeatureNameCollisionError,
    SavedDatasetLocationAlreadyExists,
)
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.transformation.pandas_transformation import PandasTransformation
from feast.types import Float64, Int64, String
from feast.value_type import ValueType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.contracts import EvergreenError
from pipelines.stores.offline import DeltaOfflineStore, pinned

START = datetime(2013, 1, 1, tzinfo=UTC)
ANSWERS = ["driver_stats:trips", "driver_stats:rate"]
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def moments(*hours: float) -> pa.Array:
    return pa.array([at(hour) for hour in hours], pa.timestamp("us", "UTC"))


def stats(path: str = "features/driver_stats", name: str = "driver_stats", **source: Any) -> FeatureView:
    """A view of two features by driver, valid for a day."""
    place = FileSource(
        name=f"{name}_source", path=path, timestamp_field="event_timestamp",
        **{"created_timestamp_column": "created", "file_format": DeltaFormat(), **source},
    )  # fmt: skip
    schema = [
        Field(name="driver_id", dtype=Int64),
        Field(name="trips", dtype=Int64),
        Field(name="rate", dtype=Float64),
    ]
    return FeatureView(name=name, entities=[driver], ttl=timedelta(days=1), schema=schema, source=place)


DRIVERS = pa.table(
    {
        "event_timestamp": moments(1, 2, 2, 30),
        "driver_id": pa.array([1001, 1001, 1002, 1001]),
        "trips": [10, 20, 30, 40],
        "rate": [0.1, 0.2, 0.3, 0.4],
        "created": moments(1, 3, 2, 30),
    }
)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    write_deltalake(f"{tmp_path}/lake/features/driver_stats", DRIVERS)
    return tmp_path / "lake"


@pytest.fixture
def store(lake: Path) -> FeatureStore:
    store = opened(lake)
    store.apply([driver, customer, stats()])
    return store


def opened(lake: Path, **registry: Any) -> FeatureStore:
    place = {"type": "pipelines.stores.offline.DeltaOfflineStore", "lake": str(lake)}
    config = RepoConfig(
        project="test", provider="local", offline_store=place,
        registry={"path": str(lake.parent / "registry.db"), **registry},
        online_store={"type": "sqlite", "path": str(lake.parent / "online.db")},
        entity_key_serialization_version=3, repo_path=lake.parent,
    )  # fmt: skip
    return FeatureStore(config=config)


def orders(**columns: Any) -> pd.DataFrame:
    rows = {
        "order_id": [7, 5, 6, 8],
        "driver_id": [1001, 1001, 1002, 1003],
        "event_timestamp": pd.to_datetime([at(2.5), at(4), at(4), at(4)]),
    }
    return pd.DataFrame({**rows, **columns})


def test_every_entity_row_comes_back_in_its_order_with_its_columns_then_the_features(
    store: FeatureStore,
) -> None:
    answer = store.get_historical_features(orders(), ANSWERS).to_df()
    assert list(answer.columns) == ["order_id", "driver_id", "event_timestamp", "trips", "rate"]
    pd.testing.assert_frame_equal(answer[list(orders().columns)], orders())
    assert answer["trips"].fillna(0).tolist() == [10, 20, 30, 0]
    assert answer["rate"].fillna(0).tolist() == [0.1, 0.2, 0.3, 0]


def test_full_names_carry_the_view(store: FeatureStore) -> None:
    answer = store.get_historical_features(orders(), ANSWERS, full_feature_names=True).to_df()
    assert list(answer.columns[3:]) == ["driver_stats__trips", "driver_stats__rate"]


def test_the_frame_and_arrow_answers_are_the_same(store: FeatureStore) -> None:
    job = store.get_historical_features(orders(), ANSWERS)
    pd.testing.assert_frame_equal(job.to_df(), job.to_arrow().to_pandas(), check_dtype=False)
    assert job.to_arrow().num_rows == 4


def test_entity_rows_are_not_changed(store: FeatureStore) -> None:
    frame = orders()
    store.get_historical_features(frame, ANSWERS).to_df()
    pd.testing.assert_frame_equal(frame, orders())


def test_columns_of_every_kind_pass_through(store: FeatureStore) -> None:
    frame = orders(
        text=["a", None, "c", "d"],
        kind=pd.Categorical(["x", "y", "x", "y"]),
        count=pd.array([1, None, 3, 4], dtype="Int64"),
        small=pd.array([1, 2, 3, 4]).astype("int16"),
        flag=[True, False, True, False],
        other_time=pd.to_datetime([at(1)] * 4).astype("datetime64[ns, UTC]"),
        whole=pd.Series([1, 2, None, 4], dtype=object),
        pair=[[1, 2], [], None, [3]],
    )
    answer = store.get_historical_features(frame, ANSWERS).to_df()
    pd.testing.assert_frame_equal(answer[list(frame.columns)], frame)


def test_an_index_is_dropped_and_the_order_kept(store: FeatureStore) -> None:
    frame = orders().set_index(pd.Index([9, 9, 3, 1], name="any"))
    answer = store.get_historical_features(frame, ANSWERS).to_df()
    assert answer["order_id"].tolist() == [7, 5, 6, 8]
    assert answer.index.tolist() == [0, 1, 2, 3]


def test_no_entity_rows_give_no_rows_with_the_same_columns(store: FeatureStore) -> None:
    answer = store.get_historical_features(orders().iloc[:0], ANSWERS).to_df()
    assert len(answer) == 0
    assert list(answer.columns[3:]) == ["trips", "rate"]
    assert answer["trips"].dtype == "int64"


def test_entity_rows_that_share_key_and_time_all_come_back(store: FeatureStore) -> None:
    frame = pd.concat([orders(), orders()], ignore_index=True)
    answer = store.get_historical_features(frame, ANSWERS).to_df()
    assert answer["trips"].fillna(0).tolist() == [10, 20, 30, 0] * 2


def test_rows_without_a_key_or_a_time_find_nothing_and_stay(store: FeatureStore) -> None:
    frame = pd.DataFrame(
        {"driver_id": pd.array([1001, None, 1001], dtype="Int64"), "event_timestamp": [at(4), at(4), pd.NaT]}
    )
    answer = store.get_historical_features(frame, ANSWERS).to_df()
    assert answer["trips"].fillna(0).tolist() == [20, 0, 0]


@pytest.mark.parametrize(
    "times",
    [
        [at(4).replace(tzinfo=None)] * 4,
        [at(4).isoformat()] * 4,
        [at(4), at(4).replace(tzinfo=None), at(4), at(4)],
        pd.Series([at(4)] * 4, dtype=object),
        pd.to_datetime([at(4)] * 4).tz_convert("Asia/Kathmandu"),
    ],
    ids=["naive", "text", "mixed", "objects", "zone"],
)
def test_times_may_be_naive_text_or_of_any_zone(store: FeatureStore, times: Any) -> None:
    frame = pd.DataFrame({"driver_id": [1001] * 4, "event_timestamp": times})
    assert store.get_historical_features(frame, ANSWERS).to_df()["trips"].tolist() == [20] * 4


def test_the_time_column_is_inferred_as_feast_does(store: FeatureStore) -> None:
    frame = orders().rename(columns={"event_timestamp": "ordered_at"})
    assert store.get_historical_features(frame, ANSWERS).to_df()["trips"].fillna(0).tolist() == [
        10,
        20,
        30,
        0,
    ]
    with pytest.raises(EntityTimestampInferenceException):
        store.get_historical_features(frame.assign(paid_at=frame["ordered_at"]), ANSWERS)


def test_a_missing_key_column_is_feasts_own_error(store: FeatureStore) -> None:
    with pytest.raises(FeastEntityDFMissingColumnsError, match="driver_id"):
        store.get_historical_features(orders().rename(columns={"driver_id": "driver"}), ANSWERS)
    with pytest.raises(FeastEntityDFMissingColumnsError, match="driver_id"):
        store.get_historical_features("select now() as event_timestamp", ANSWERS)


def test_names_that_collide_are_feasts_own_error(store: FeatureStore) -> None:
    store.apply([stats(name="other")])
    with pytest.raises(FeatureNameCollisionError, match="trips"):
        store.get_historical_features(orders(), ["driver_stats:trips", "other:trips"])
    both = store.get_historical_features(
        orders(), ["driver_stats:trips", "other:trips"], full_feature_names=True
    )
    assert list(both.to_df().columns[3:]) == ["driver_stats__trips", "other__trips"]


def test_a_feature_that_would_hide_an_entity_column_is_refused(store: FeatureStore) -> None:
    with pytest.raises(EvergreenError, match="already have a column 'trips'"):
        store.get_historical_features(orders(trips=1), ANSWERS)


def test_a_feature_service_is_answered(store: FeatureStore) -> None:
    service = FeatureService(name="service", features=[stats()[["rate"]]])
    store.apply([service])
    answer = store.get_historical_features(orders(), store.get_feature_service("service")).to_df()
    assert list(answer.columns[3:]) == ["rate"]


def test_a_view_may_be_asked_twice_under_other_names_and_keys(store: FeatureStore) -> None:
    service = FeatureService(
        name="pairs",
        features=[
            stats().with_name("first").with_join_key_map({"driver_id": "first_id"}),
            stats()[["trips"]].with_name("second").with_join_key_map({"driver_id": "second_id"}),
        ],
    )
    store.apply([service])
    frame = pd.DataFrame({"first_id": [1001, 1002], "second_id": [1002, 9], "event_timestamp": [at(4)] * 2})
    answer = store.get_historical_features(
        frame, store.get_feature_service("pairs"), full_feature_names=True
    ).to_df()
    assert answer["first__trips"].tolist() == [20, 30]
    assert answer["second__trips"].fillna(0).tolist() == [30, 0]
    assert "first__rate" in answer
    assert "second__rate" not in answer


def test_several_views_with_several_keys_are_joined_at_once(store: FeatureStore, lake: Path) -> None:
    profile = FeatureView(
        name="profile",
        entities=[customer, driver],
        schema=[
            Field(name="customer_id", dtype=String),
            Field(name="driver_id", dtype=Int64),
            Field(name="score", dtype=Int64),
        ],
        source=FileSource(path="profile.parquet", timestamp_field="event_timestamp"),
    )
    rows = {
        "customer_id": ["c", "c"],
        "driver_id": [1001, 1002],
        "score": [1, 2],
        "event_timestamp": moments(0, 0),
    }
    pq.write_table(pa.table(rows), lake / "profile.parquet")
    store.apply([profile])
    frame = orders(customer_id=["c", "c", "c", "d"])
    answer = store.get_historical_features(frame, [*ANSWERS, "profile:score"]).to_df()
    assert answer["score"].fillna(0).tolist() == [1, 1, 2, 0]
    assert answer["trips"].fillna(0).tolist() == [10, 20, 30, 0]


def test_a_view_without_entities_answers_every_row(store: FeatureStore, lake: Path) -> None:
    weather = FeatureView(
        name="weather",
        entities=[],
        ttl=timedelta(hours=3),
        schema=[Field(name="rain", dtype=Float64)],
        source=FileSource(
            path="weather.parquet", file_format=ParquetFormat(), timestamp_field="event_timestamp"
        ),
    )
    pq.write_table(pa.table({"rain": [1.0, 2.0], "event_timestamp": moments(0, 3)}), lake / "weather.parquet")
    store.apply([weather])
    answer = store.get_historical_features(orders(), ["weather:rain", *ANSWERS]).to_df()
    assert answer["rain"].tolist() == [1.0, 2.0, 2.0, 2.0]
    store.materialize(at(0), at(4), feature_views=["weather"])
    store.materialize(at(0), at(4), feature_views=["driver_stats"])
    online = store.get_online_features(
        ["weather:rain", "driver_stats:trips"], [{"driver_id": 1001}]
    ).to_dict()
    assert (online["rain"], online["trips"]) == ([2.0], [20])


def test_columns_may_have_other_names_in_the_files(store: FeatureStore, lake: Path) -> None:
    renamed = DRIVERS.rename_columns(["ts_", "id_", "trips_", "rate_", "created_"])
    pq.write_table(renamed, lake / "renamed.parquet")
    mapping = {
        "ts_": "event_timestamp", "id_": "driver_id", "trips_": "trips", "rate_": "rate", "created_": "created"
    }  # fmt: skip
    view = stats("renamed.parquet", "renamed", field_mapping=mapping, file_format=ParquetFormat())
    store.apply([view])
    answer = store.get_historical_features(orders(), ["renamed:trips", "renamed:rate"]).to_df()
    assert answer["trips"].fillna(0).tolist() == [10, 20, 30, 0]
    store.materialize(at(0), at(31), feature_views=["renamed"])
    online = store.get_online_features(
        ["renamed:trips"], [{"driver_id": 1001}, {"driver_id": 1002}]
    ).to_dict()
    assert online["trips"] == [40, 30]


def test_a_feature_may_be_a_time(store: FeatureStore) -> None:
    view = FeatureView(
        name="times",
        entities=[driver],
        schema=[Field(name="driver_id", dtype=Int64), Field(name="created", dtype=String)],
        source=FileSource(path="features/driver_stats", timestamp_field="event_timestamp"),
    )
    store.apply([view])
    assert store.get_historical_features(orders(), ["times:created"]).to_df()["created"].tolist()[0] == at(3)


@pytest.mark.parametrize("form", ["file", "folder", "partitions", "absolute", "uri", "pattern", "delta uri"])
def test_a_source_may_be_a_file_a_folder_a_pattern_or_a_uri(
    form: str, store: FeatureStore, lake: Path
) -> None:
    for number in range(3):
        folder = lake / "parts" / f"p={number}"
        folder.mkdir(parents=True)
        pq.write_table(DRIVERS.slice(number, 2 if number == 2 else 1), folder / f"{number}.parquet")
        pq.write_table(DRIVERS.slice(number, 2 if number == 2 else 1), lake / f"part-{number}.parquet")
    pq.write_table(DRIVERS, lake / "all.parquet")
    (lake / "folder").mkdir()
    pq.write_table(DRIVERS, lake / "folder" / "one.parquet")
    path = {
        "file": "all.parquet",
        "folder": "folder",
        "partitions": "parts",
        "absolute": str(lake / "all.parquet"),
        "uri": (lake / "all.parquet").as_uri(),
        "pattern": "part-*.parquet",
        "delta uri": (lake / "features" / "driver_stats").as_uri(),
    }[form]
    view = stats(path, "places", file_format=None)
    store.apply([view])
    answer = store.get_historical_features(orders(), ["places:trips"]).to_df()
    assert answer["trips"].fillna(0).tolist() == [10, 20, 30, 0]


def test_files_may_differ_in_units_and_lack_newer_columns(store: FeatureStore, lake: Path) -> None:
    (lake / "mixed").mkdir()
    coarse = pa.array([at(1)], pa.timestamp("ms", "UTC"))
    old = pa.table({"event_timestamp": coarse, "driver_id": [1001], "trips": [10], "created": coarse})
    fine = pa.array([at(2)], pa.timestamp("ns", "UTC"))
    new = pa.table(
        {"event_timestamp": fine, "driver_id": [1002], "trips": [30], "created": fine, "rate": [0.3]}
    )
    pq.write_table(old, lake / "mixed" / "1.parquet")
    pq.write_table(new, lake / "mixed" / "2.parquet")
    store.apply([stats("mixed", "mixed", file_format=ParquetFormat())])
    answer = store.get_historical_features(orders(), ["mixed:trips", "mixed:rate"]).to_df()
    assert answer["trips"].fillna(0).tolist() == [10, 10, 30, 0]
    assert answer["rate"].fillna(0).tolist() == [0, 0, 0.3, 0]


def test_a_view_without_a_created_column_knows_a_row_when_it_happened(store: FeatureStore) -> None:
    store.apply([stats(name="plain", created_timestamp_column="")])
    answer = store.get_historical_features(orders(), ["plain:trips"]).to_df()
    assert answer["trips"].fillna(0).tolist() == [20, 20, 30, 0]


QUERY = "select order_id, driver_id, event_timestamp from silver.orders where order_id < 8 order by order_id"


@pytest.mark.parametrize(
    "query",
    [
        QUERY,
        QUERY + ";",
        "-- orders\nwith silver as (" + QUERY + ") select * from silver",
        QUERY.replace("silver.orders", '"silver/orders"'),
        QUERY.replace("silver.orders", "deep.er.orders"),
        QUERY.replace(" where", " o join features.driver_stats f using (driver_id, event_timestamp) where")
        .replace("select order_id", "select distinct order_id").replace(" join", " left join"),
    ],
    ids=["schema", "semicolon", "with", "path", "three parts", "two tables"],
)  # fmt: skip
def test_entity_rows_may_be_sql_over_the_lake(query: str, store: FeatureStore, lake: Path) -> None:
    for place in ("silver/orders", "deep/er/orders"):
        write_deltalake(f"{lake}/{place}", pa.Table.from_pandas(orders()))
    job = store.get_historical_features(query, ANSWERS)
    answer = job.to_df()
    assert answer["order_id"].tolist() == [5, 6, 7]
    assert answer["trips"].tolist() == [20, 30, 10]
    assert (job.metadata.min_event_timestamp, job.metadata.max_event_timestamp) == (at(2.5), at(4))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("select * from silver.flights", r"silver\.flights.*silver/flights"),
        ("select * from nowhere", "nowhere"),
        ("drop table x", "one select statement"),
        ("select 1; select 2", "one select statement"),
        ("selec 1", "one select statement"),
        ("select nothing from features.driver_stats", "does not run.*nothing"),
    ],
)
def test_sql_that_cannot_be_answered_says_why(query: str, names: str, store: FeatureStore) -> None:
    with pytest.raises(EvergreenError, match=names):
        store.get_historical_features(query, ANSWERS)


def test_sql_reads_the_version_that_is_pinned(store: FeatureStore) -> None:
    query = "select count(*) as rows, 1001 as driver_id, now() as event_timestamp from features.driver_stats"
    write_deltalake(store.config.offline_store.lake + "/features/driver_stats", DRIVERS, mode="append")
    with pinned({"features/driver_stats": 0}):
        job = store.get_historical_features(query, ANSWERS)
    assert job.to_df()["rows"].tolist() == [4]
    assert store.get_historical_features(query, ANSWERS).to_df()["rows"].tolist() == [8]


def test_without_entity_rows_each_key_is_asked_when_its_values_became_known(store: FeatureStore) -> None:
    job = store.get_historical_features(features=ANSWERS, start_date=at(1), end_date=at(3))
    answer = job.to_df()
    assert answer["event_timestamp"].tolist() == [at(1), at(3), at(2)]
    assert answer["driver_id"].tolist() == [1001, 1001, 1002]
    assert answer["trips"].tolist() == [10, 20, 30]
    assert (job.metadata.min_event_timestamp, job.metadata.max_event_timestamp) == (at(1), at(3))


def test_without_entity_rows_the_dates_bound_the_answer(store: FeatureStore) -> None:
    answer = store.get_historical_features(features=ANSWERS, start_date=at(1.5), end_date=at(2.5)).to_df()
    assert answer["trips"].tolist() == [30]
    naive = store.get_historical_features(
        features=ANSWERS, start_date=at(29).replace(tzinfo=None), end_date=at(30).replace(tzinfo=None)
    )
    assert naive.to_df()["trips"].tolist() == [40]


def test_both_entity_rows_and_dates_are_refused(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match="both"):
        store.get_historical_features(orders(), ANSWERS, start_date=at(1), end_date=at(2))


def test_a_feature_computed_on_demand_is_refused_and_its_code_not_loaded(store: FeatureStore) -> None:
    """The store is asked directly: Feast itself unpickles such a view on its way here."""

    def never(frame: pd.DataFrame) -> pd.DataFrame:
        raise AssertionError

    view = OnDemandFeatureView(
        name="computed",
        sources=[stats()],
        schema=[Field(name="twice", dtype=Int64)],
        feature_transformation=PandasTransformation(udf=never, udf_string=""),
    )
    assert view.name == "computed"
    with pytest.raises(EvergreenError, match=r"computed:twice.*pickle"):
        DeltaOfflineStore.get_historical_features(
            store.config, [stats()], [*ANSWERS, "computed:twice"], orders(), None, "test"
        )


def test_code_in_the_registry_is_not_loaded_for_other_features(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = PandasTransformation(
        udf=lambda frame: pd.DataFrame({"twice": frame["order_id"] * 2}), udf_string=""
    )
    fields = [Field(name="twice", dtype=Int64)]
    request = RequestSource(name="request", schema=[Field(name="order_id", dtype=Int64)])
    store.apply(
        [OnDemandFeatureView(name="computed", sources=[request], schema=fields, feature_transformation=twice)]
    )
    load = "feast.transformation.udf_rehydrate.resolve_udf"
    monkeypatch.setattr(load, lambda *_, **__: pytest.fail("code of the registry was loaded"))
    store.registry.refresh()
    with pytest.raises(pytest.fail.Exception):
        store.list_on_demand_feature_views()
    answer = store.get_historical_features(orders(), ANSWERS).to_df()
    assert answer["trips"].fillna(0).tolist() == [10, 20, 30, 0]


@pytest.mark.parametrize("kind", ["category", "string", "object", "large"])
def test_keys_of_text_may_be_of_any_kind(kind: str, store: FeatureStore, lake: Path) -> None:
    rows = {"customer_id": ["c", "d"], "score": [1, 2], "event_timestamp": moments(0, 0)}
    pq.write_table(pa.table(rows), lake / "scores.parquet")
    schema = [Field(name="customer_id", dtype=String), Field(name="score", dtype=Int64)]
    place = FileSource(path="scores.parquet", timestamp_field="event_timestamp")
    store.apply([FeatureView(name="scores", entities=[customer], schema=schema, source=place)])
    keys = pd.Series(["d", "x", "c"]).astype("string[pyarrow]" if kind == "large" else kind)
    frame = pd.DataFrame({"customer_id": keys, "event_timestamp": [at(1)] * 3})
    answer = store.get_historical_features(frame, ["scores:score"]).to_df()
    assert answer["score"].fillna(0).tolist() == [2, 0, 1]
    assert answer["customer_id"].dtype == frame["customer_id"].dtype


def test_versions_of_a_view_are_asked_by_reference_and_never_named_in_the_answer(lake: Path) -> None:
    write_deltalake(f"{lake}/features/second", DRIVERS.set_column(2, "trips", pa.array([1, 2, 3, 4])))
    store = opened(lake, enable_online_feature_view_versioning=True)
    store.apply([driver, stats()])
    changed = stats("features/second")
    changed.ttl = timedelta(days=2)
    changed.schema.append(Field(name="extra", dtype=Int64))
    changed.features.append(Field(name="extra", dtype=Int64))
    store.apply([changed])
    numbers = [row["version_number"] for row in store.list_feature_view_versions("driver_stats")]
    assert len(numbers) >= 2
    first, second = min(numbers), max(numbers)
    answers = [
        store.get_historical_features(orders(), [f"driver_stats@v{n}:trips"], full_feature_names=full).to_df()
        for n in (first, second) for full in (False, True)
    ]  # fmt: skip
    assert [list(answer.columns[3:]) for answer in answers] == [["trips"], ["driver_stats__trips"]] * 2
    assert [answer.iloc[0, 3] for answer in answers] == [10, 10, 1, 1]
    with pytest.raises(FeatureNameCollisionError):
        store.get_historical_features(
            orders(), [f"driver_stats@v{n}:trips" for n in (first, second)], full_feature_names=True
        )


@pytest.mark.parametrize("form", ["answer.parquet", "answer", "delta"])
def test_an_answer_is_saved_and_read_back_and_not_overwritten_unasked(form: str, store: FeatureStore) -> None:
    file_format = DeltaFormat() if form == "delta" else ParquetFormat()
    place = SavedDatasetFileStorage(path=f"saved/{form}", file_format=file_format)
    job = store.get_historical_features(orders(), ANSWERS)
    saved = store.create_saved_dataset(job, "saved", place).to_df()
    wanted = job.to_df()[["driver_id", "trips", "rate", "event_timestamp"]]
    pd.testing.assert_frame_equal(saved[list(wanted.columns)], wanted, check_dtype=False)
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(place)
    store.get_historical_features(orders().iloc[:1], ANSWERS).persist(place, allow_overwrite=True)
    assert len(store.get_saved_dataset("saved").to_df()) == 1


def written(hour: float = 50) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "event_timestamp": [at(hour)], "driver_id": [1001], "trips": [99], "rate": [0.9], "created": [at(hour)]
        }
    )  # fmt: skip


@pytest.mark.parametrize("place", ["features/driver_stats", "one.parquet", "folder"])
def test_rows_are_added_to_the_source(place: str, store: FeatureStore, lake: Path) -> None:
    (lake / "folder").mkdir()
    pq.write_table(DRIVERS, lake / "one.parquet")
    pq.write_table(DRIVERS, lake / "folder" / "a.parquet")
    file_format = DeltaFormat() if place.startswith("features") else ParquetFormat()
    store.apply([stats(place, "grows", file_format=file_format)])
    store.write_to_offline_store(
        "grows", written()[["rate", "trips", "driver_id", "created", "event_timestamp"]]
    )
    asked = orders(event_timestamp=pd.to_datetime([at(51)] * 4))
    answer = store.get_historical_features(asked, ["grows:trips"]).to_df()
    assert answer["trips"].fillna(0).tolist() == [99, 99, 0, 0], "1002's row is older than a day"


def test_rows_with_other_columns_are_refused_and_nothing_is_written(store: FeatureStore, lake: Path) -> None:
    for wrong in (
        written().drop(columns="rate"),
        written()[["rate", "trips", "driver_id", "created", "event_timestamp"]],
    ):
        with pytest.raises(ValueError, match="columns"):
            store.write_to_offline_store("driver_stats", wrong, reorder_columns=False)
    with pytest.raises(EvergreenError, match="do not fit"):
        store.write_to_offline_store("driver_stats", written().assign(trips="many"))
    assert DeltaTable(f"{lake}/features/driver_stats").version() == 0


def test_rows_pushed_offline_are_answered(store: FeatureStore) -> None:
    view = stats(name="pushed")
    view = FeatureView(
        name="pushed", entities=[driver], ttl=timedelta(days=1), schema=view.schema,
        source=PushSource(name="push", batch_source=view.batch_source),
    )  # fmt: skip
    store.apply([view])
    store.push("push", written(), to=PushMode.OFFLINE)
    asked = orders(event_timestamp=pd.to_datetime([at(50)] * 4))
    answer = store.get_historical_features(asked, ["pushed:trips"]).to_df()
    assert answer["trips"].fillna(0).tolist() == [99, 99, 0, 0]


def test_features_are_inferred_from_the_source_in_the_lake(store: FeatureStore) -> None:
    source = stats().batch_source
    store.apply([FeatureView(name="inferred", entities=[driver], source=source)])
    assert {f.name for f in store.get_feature_view("inferred").features} == {"trips", "rate"}


@pytest.mark.parametrize("partition_by", [None, ["__log_date"]])
def test_logs_of_served_features_are_written_and_read_back(
    partition_by: Any, store: FeatureStore, lake: Path
) -> None:
    destination = FileLoggingDestination(path="logs", partition_by=partition_by)
    service = FeatureService(
        name="served", features=[stats()], logging_config=LoggingConfig(destination=destination)
    )
    store.apply([service])
    for number in (1, 2):
        logs = pa.table(
            {
                "driver_id": [1001], "driver_stats__trips": [number], "driver_stats__rate": [0.5],
                **{f"driver_stats__{n}__timestamp": moments(1) for n in ("trips", "rate")},
                **{f"driver_stats__{n}__status": pa.array([2], pa.int32()) for n in ("trips", "rate")},
                "__log_timestamp": moments(number), "__log_date": pa.array([at(1).date()]), "__request_id": ["r"],
            }
        )  # fmt: skip
        store.write_logged_features(logs, store.get_feature_service("served"))
    job = store._get_provider().retrieve_feature_service_logs(
        store.get_feature_service("served"), at(2), at(3), store.config, store.registry
    )
    assert job.to_df()["driver_stats__trips"].tolist() == [2], "both dates are included"


def test_the_newest_values_are_materialized(store: FeatureStore) -> None:
    store.materialize(at(0), at(4))
    online = store.get_online_features(ANSWERS, [{"driver_id": 1001}, {"driver_id": 1002}]).to_dict()
    assert online["trips"] == [20, 30]
    store.materialize(at(60), at(61))
    assert store.get_online_features(ANSWERS, [{"driver_id": 1001}]).to_dict()["trips"] == [20]


minutes = st.integers(0, 15)
history = st.lists(
    st.tuples(st.sampled_from([1, 2, None]), minutes, minutes, st.integers(0, 99)), min_size=1, max_size=15
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=history,
    second=history,
    asked=st.lists(
        st.tuples(st.sampled_from([1, 2, 3, None]), st.sampled_from([1, 2, None]), minutes), max_size=12
    ),
    unit=st.sampled_from(["ms", "us", "ns"]),
)
def test_views_aliases_and_keys_are_all_answered_as_if_each_were_alone(
    first: Any, second: Any, asked: Any, unit: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake = tmp_path_factory.mktemp("home") / "lake"
    lake.mkdir()
    store = opened(lake)
    limits = {"one": timedelta(minutes=5), "two": timedelta(0)}
    data = dict(zip(limits, (first, second), strict=True))
    for name, rows in data.items():
        stamps = [pa.array([at(r[i] / 60) for r in rows], pa.timestamp(unit, "UTC")) for i in (1, 2)]
        found = {
            "k": pa.array([r[0] for r in rows], pa.int64()),
            "v": [r[3] for r in rows],
            "e": stamps[0],
            "c": stamps[1],
        }
        pq.write_table(pa.table(found), lake / f"{name}.parquet", row_group_size=4)
    key = Entity(name="key", join_keys=["k"], value_type=ValueType.INT64)
    views = {
        name: FeatureView(
            name=name, entities=[key], ttl=ttl, schema=[Field(name="k", dtype=Int64), Field(name="v", dtype=Int64)],
            source=FileSource(path=f"{name}.parquet", timestamp_field="e", created_timestamp_column="c"),
        )
        for name, ttl in limits.items()
    }  # fmt: skip
    plain = views["one"].with_name("plain")
    alias = views["one"].with_name("alias").with_join_key_map({"k": "other"})
    store.apply(
        [
            key,
            *views.values(),
            FeatureService(name="all", features=[plain, views["two"].with_name("two"), alias]),
        ]
    )
    frame = pd.DataFrame(
        {
            "k": pd.array([a[0] for a in asked], dtype="Int64"),
            "other": pd.array([a[1] for a in asked], dtype="Int64"),
            "event_timestamp": pd.Series([at(a[2] / 60) for a in asked], dtype="datetime64[us, UTC]"),
        }
    )
    answer = store.get_historical_features(
        frame, store.get_feature_service("all"), full_feature_names=True
    ).to_df()
    assert len(answer) == len(asked)
    for column, name, which in (("plain__v", "one", 0), ("two__v", "two", 0), ("alias__v", "one", 1)):
        ttl = limits[name] // timedelta(minutes=1)
        for question, got in zip(asked, answer[column], strict=True):
            seen = [
                r for r in data[name]
                if r[0] is not None and r[0] == question[which] and max(r[1], r[2]) <= question[2]
                and (not ttl or question[2] - r[1] <= ttl)
            ]  # fmt: skip
            right = {r[3] for r in seen if r[1:3] == max(s[1:3] for s in seen)}
            assert got in right if right else pd.isna(got)
