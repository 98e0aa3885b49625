"""Rules of the point-in-time join, held against an oracle of a few lines."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from feast import Entity, FeatureView, Field, FileSource
from feast.types import Int64, String
from feast.value_type import ValueType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.contracts import EvergreenError
from pipelines.stores.offline import DeltaOfflineStore, DeltaOfflineStoreConfig, pinned
from pipelines.stores.offline.engine import connection
from pipelines.stores.offline.sources import source

START = datetime(2013, 1, 1, tzinfo=UTC)
TTL = timedelta(minutes=8)
KEYS = ["a", "b", "c", None]
ZONES = [UTC, ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/New_York")]
GENTLY = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
minutes = st.integers(0, 20)
times = st.one_of(minutes, st.just(None))


@dataclass(frozen=True, order=True)
class Row:
    """A feature row: its event time and its knowledge time in minutes, and two values that belong together."""

    key: str | None
    event: int | None
    created: int | None
    value: int

    @property
    def second(self) -> int:
        return self.value * 7 % 5


rows = st.lists(
    st.builds(Row, st.sampled_from(KEYS), times, times, st.integers(0, 3)), min_size=1, max_size=25
)
asked = st.lists(st.tuples(st.sampled_from(KEYS), times), min_size=1, max_size=20)


def at(minute: int | None) -> datetime | None:
    return None if minute is None else START + timedelta(minutes=minute)


def eligible(
    found: list[Row], key: str | None, minute: int | None, ttl: int | None, known: bool
) -> list[Row]:
    """The oracle: all rows that may answer; more than one only if they tie in both times."""
    seen = [
        r
        for r in found
        if None not in (r.key, r.event, minute) and r.key == key and r.event <= minute
        and (not known or (r.created is not None and r.created <= minute))
        and (not ttl or minute - r.event <= ttl)
    ]  # fmt: skip
    newest = max(((r.event, r.created if known else 0) for r in seen), default=None)
    return [r for r in seen if (r.event, r.created if known else 0) == newest]


def view(ttl: timedelta | None = TTL, known: bool = True, name: str = "v", **source: Any) -> FeatureView:
    key = Entity(name="key", join_keys=["key"], value_type=ValueType.STRING)
    created = "created_timestamp" if known else None
    place = FileSource(
        name=name,
        timestamp_field="event_timestamp",
        created_timestamp_column=created,
        **{"path": name, **source},
    )
    fields = [
        Field(name="key", dtype=String),
        Field(name="value", dtype=Int64),
        Field(name="second", dtype=Int64),
    ]
    return FeatureView(name=name, entities=[key], ttl=ttl, schema=fields, source=place)


def config(lake: Any, **options: Any) -> Any:
    return SimpleNamespace(offline_store=DeltaOfflineStoreConfig(lake=str(lake), **options))


def table(found: list[Row], unit: str = "us", zone: str | None = "UTC") -> pa.Table:
    kind = pa.timestamp(unit, zone)
    naive = zone is None

    def moments(values: list[int | None]) -> pa.Array:
        stamps = [at(v) for v in values]
        return pa.array([s.replace(tzinfo=None) if s and naive else s for s in stamps], kind)

    return pa.table(
        {
            "second": pa.array([r.second for r in found], pa.int64()),
            "key": pa.array([r.key for r in found], pa.string()),
            "value": pa.array([r.value for r in found], pa.int64()),
            "event_timestamp": moments([r.event for r in found]),
            "created_timestamp": moments([r.created for r in found]),
        }
    )


def landed(found: list[Row], lake: Any, files: int = 1) -> None:
    for number in range(files):
        mode = "append" if number else "overwrite"
        write_deltalake(f"{lake}/v", table(found[number::files]), mode=mode)


def shuffled(found: list[Row], seed: int) -> list[Row]:
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))]


def entity_rows(questions: list[tuple[str | None, int | None]], zone: Any = UTC) -> pd.DataFrame:
    stamps = pd.Series([at(m) for _, m in questions], dtype="datetime64[us, UTC]").dt.tz_convert(zone)
    return pd.DataFrame({"key": [k for k, _ in questions], "event_timestamp": stamps})


def historical(
    lake: Any, frame: Any, found: FeatureView, features: list[str] | None = None, **options: Any
) -> pd.DataFrame:
    references = [f"{found.name}:{feature}" for feature in features or ["value", "second"]]
    return DeltaOfflineStore.get_historical_features(
        config(lake, **options), [found], references, frame, None, "p"
    ).to_df()


def values(frame: pd.DataFrame, *names: str) -> list[Any]:
    return [
        None if any(pd.isna(v) for v in row) else tuple(int(v) for v in row)
        for row in frame[list(names)].itertuples(index=False)
    ]


@GENTLY
@given(
    found=rows,
    questions=asked,
    ttl=st.sampled_from([None, 0, 3, 8]),
    known=st.booleans(),
    zone=st.sampled_from(ZONES),
    files=st.integers(1, 3),
    threads=st.integers(1, 2),
)
def test_a_row_gets_the_newest_that_happened_and_was_known_and_is_not_older_than_the_ttl(
    found: Any, questions: Any, ttl: Any, known: bool, zone: Any, files: int, threads: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    lake = tmp_path_factory.mktemp("lake")
    landed(found, lake, files)
    limit = None if ttl is None else timedelta(minutes=ttl)
    frame = entity_rows(questions, zone)
    answer = historical(lake, frame, view(limit, known), threads=threads)
    pd.testing.assert_frame_equal(answer[["key", "event_timestamp"]], frame)
    for (key, minute), got in zip(questions, values(answer, "value", "second"), strict=True):
        right = {(r.value, r.second) for r in eligible(found, key, minute, ttl, known)}
        assert got in right if right else got is None


@GENTLY
@given(
    found=st.lists(
        st.builds(Row, st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 5), st.integers(0, 9))
    ),
    questions=st.lists(st.tuples(st.sampled_from("ab"), minutes), min_size=1, max_size=9),
    seed=st.integers(0, 9),
)
def test_rows_that_tie_are_told_apart_by_content_not_by_place_features_or_threads(
    found: Any, questions: Any, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lakes = [tmp_path_factory.mktemp("lake") for _ in range(2)]
    landed(found, lakes[0])
    landed(shuffled(found, seed), lakes[1], files=2)
    frame = entity_rows(questions)
    first = historical(lakes[0], frame, view(), threads=1)
    pd.testing.assert_frame_equal(historical(lakes[1], frame, view(), threads=2), first)
    alone = historical(lakes[1], frame, view(), ["second"], threads=2)
    pd.testing.assert_series_equal(alone["second"], first["second"])


@GENTLY
@given(found=rows, seed=st.integers(0, 9), start=minutes, end=minutes)
def test_the_newest_row_of_each_key_is_pulled_with_both_dates_included(
    found: Any, seed: int, start: int, end: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    answers = []
    for number in range(2):
        lake = tmp_path_factory.mktemp("lake")
        landed(shuffled(found, seed + number), lake, files=number + 1)
        job = DeltaOfflineStore.pull_latest_from_table_or_query(
            config(lake), view().batch_source, ["key"], ["value", "second"], "event_timestamp", "created_timestamp",
            at(start), at(end),
        )  # fmt: skip
        answers.append(job.to_df().sort_values("key", ignore_index=True))
    pd.testing.assert_frame_equal(*answers)
    within = [r for r in found if r.event is not None and start <= r.event <= end and r.key is not None]
    assert set(answers[0]["key"]) == {r.key for r in within}
    for row in answers[0].itertuples():
        best = max((r.event, -1 if r.created is None else r.created) for r in within if r.key == row.key)
        assert row.value in {
            r.value for r in within
            if r.key == row.key and (r.event, -1 if r.created is None else r.created) == best
        }  # fmt: skip


@GENTLY
@given(found=rows, start=st.one_of(st.none(), minutes), end=st.one_of(st.none(), minutes))
def test_all_rows_are_pulled_with_both_dates_included(
    found: Any, start: Any, end: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake = tmp_path_factory.mktemp("lake")
    landed(found, lake)
    naive = None if start is None else at(start).replace(tzinfo=None)
    job = DeltaOfflineStore.pull_all_from_table_or_query(
        config(lake), view().batch_source, ["key"], ["value"], "event_timestamp", None, naive, at(end)
    )
    within = [
        r.value
        for r in found
        if r.event is not None and (start is None or r.event >= start) and (end is None or r.event <= end)
    ]
    assert sorted(job.to_df()["value"]) == sorted(within)


def test_a_row_seen_later_that_happened_earlier_does_not_answer(tmp_path: Path) -> None:
    landed([Row("a", 10, 20, 1), Row("a", 15, 16, 2)], tmp_path)
    answer = historical(tmp_path, entity_rows([("a", 25), ("a", 16), ("a", 15)]), view(None))
    assert values(answer, "value") == [(2,), (2,), None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
@pytest.mark.parametrize("asked_unit", ["s", "ms", "us", "ns"])
def test_units_and_zones_of_sources_and_entity_rows_mean_the_same_moment(
    unit: str, zone: str | None, asked_unit: str, tmp_path: Path
) -> None:
    pq.write_table(table([Row("a", 5, 6, 1), Row("a", 9, 9, 2)], unit, zone), tmp_path / "v.parquet")
    frame = entity_rows([("a", 5), ("a", 6), ("a", 9)])
    for kind in (f"datetime64[{asked_unit}]", f"datetime64[{asked_unit}, UTC]"):
        stamps = frame["event_timestamp"]
        stamps = stamps.dt.tz_localize(None).astype(kind) if "UTC" not in kind else stamps.astype(kind)
        asked = frame.assign(event_timestamp=stamps)
        answer = historical(tmp_path, asked, view(path="v.parquet"))
        assert values(answer, "value") == [None, (1,), (2,)]
        assert answer["event_timestamp"].dtype == asked["event_timestamp"].dtype


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_a_nanosecond_too_early_a_value_is_not_seen(zone: str | None, tmp_path: Path) -> None:
    moment = pd.Timestamp(START).value + 1_500
    stamps = pa.array([moment, moment + 1], pa.timestamp("ns", zone))
    found = pa.table({"key": ["a", "a"], "value": [1, 2], "second": [1, 2], "event_timestamp": stamps})
    pq.write_table(found.append_column("created_timestamp", stamps), tmp_path / "v.parquet")
    asked = pd.to_datetime([moment - 1, moment, moment + 1, moment + 1 + 60 * 10**9 * 8], utc=True)
    frame = pd.DataFrame({"key": "a", "event_timestamp": [*asked, asked[-1] + pd.Timedelta(1)]})
    answer = historical(tmp_path, frame, view(path="v.parquet"))
    assert values(answer, "value") == [None, (1,), (2,), (2,), None], "the TTL is exact as well"


def test_rows_that_differ_by_a_nanosecond_alone_are_told_apart_in_any_order(tmp_path: Path) -> None:
    rows = [("a", 1, 1_500), ("a", 2, 1_501)]
    for name, order in (("x", rows), ("y", rows[::-1])):
        stamp = pa.array([START] * 2, pa.timestamp("us", "UTC"))
        pq.write_table(
            pa.table(
                {
                    "key": [k for k, _, _ in order], "event_timestamp": stamp, "created_timestamp": stamp,
                    "a": pa.array([n for _, _, n in order], pa.timestamp("ns", "UTC")),
                    "value": [v for _, v, _ in order], "second": [v for _, v, _ in order],
                }
            ), tmp_path / f"{name}.parquet",
        )  # fmt: skip
    answers = [historical(tmp_path, entity_rows([("a", 1)]), view(path=f"{n}.parquet")) for n in "xy"]
    assert values(answers[0], "value") == values(answers[1], "value") == [(2,)]


def test_times_far_outside_the_range_of_nanoseconds_are_answered(tmp_path: Path) -> None:
    """A sentinel such as the year 9999 is a moment like any other."""
    landed([Row("a", 1, 1, 1)], tmp_path)
    asked = pa.array(
        [datetime(9999, 12, 31, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")
    ).to_pandas()
    answer = historical(tmp_path, pd.DataFrame({"key": "a", "event_timestamp": asked}), view(None))
    assert values(answer, "value") == [(1,), None]


def test_an_answer_larger_than_the_memory_limit_is_still_right(tmp_path: Path) -> None:
    """Keys and times of 1.5 million rows take more than the 32 MB allowed, so they spill."""
    count, keys = 1_500_000, 1_000
    rng = np.random.default_rng(0)
    event = rng.integers(0, 10**6, count)
    created = event + rng.integers(0, 10**5, count)
    found = pa.table(
        {
            "key": pa.array(rng.integers(0, keys, count)),
            "value": event,
            "second": event,
            "event_timestamp": pa.array(event * 10**6, pa.timestamp("us", "UTC")),
            "created_timestamp": pa.array(created * 10**6, pa.timestamp("us", "UTC")),
        }
    )
    write_deltalake(f"{tmp_path}/v", found)
    some = rng.integers(0, keys, 50)
    moments = rng.integers(0, 10**6, 50)
    frame = pd.DataFrame({"key": some, "event_timestamp": pd.to_datetime(moments, unit="s", utc=True)})
    answer = historical(tmp_path, frame, view(None), memory_mb=32, temp_directory=str(tmp_path / "spill"))
    rows = pd.DataFrame({"key": found["key"].to_numpy(), "event": event, "created": created})
    right = [
        rows[(rows.key == k) & (rows.event <= t) & (rows.created <= t)].event.max()
        for k, t in zip(some, moments, strict=True)
    ]
    assert any(right)
    assert values(answer, "value") == [None if pd.isna(v) else (int(v),) for v in right]
    assert not list((tmp_path / "spill").iterdir()), "what was spilled is removed"


def test_a_question_keeps_the_versions_that_were_pinned_when_it_was_asked(tmp_path: Path) -> None:
    landed([Row("a", 1, 1, 1)], tmp_path)
    write_deltalake(f"{tmp_path}/v", table([Row("a", 2, 2, 2)]), mode="append")
    frame, refs = entity_rows([("a", 5)]), ["v:value"]

    def job() -> Any:
        return DeltaOfflineStore.get_historical_features(config(tmp_path), [view()], refs, frame, None, "p")

    with pinned({"v": 0}):
        old = job()
        with pinned({"other": 3}):
            inner = job()
    assert [values(j.to_df(), "value") for j in (old, inner, job())] == [[(1,)], [(1,)], [(2,)]]


def test_a_pinned_version_that_does_not_exist_is_named(tmp_path: Path) -> None:
    landed([Row("a", 1, 1, 1)], tmp_path)
    with pinned({"v": 7}), pytest.raises(EvergreenError, match=r"no version 7 .*newest is 0"):
        historical(tmp_path, entity_rows([("a", 1)]), view())


def test_a_pinned_version_whose_files_are_gone_is_named(tmp_path: Path) -> None:
    landed([Row("a", 1, 1, 1)], tmp_path)
    landed([Row("a", 1, 1, 2)], tmp_path)
    DeltaTable(f"{tmp_path}/v").vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pinned({"v": 0}), pytest.raises(EvergreenError, match="version 0 to a vacuum"):
        historical(tmp_path, entity_rows([("a", 1)]), view())


def test_a_pin_on_files_without_versions_is_refused(tmp_path: Path) -> None:
    pq.write_table(table([Row("a", 1, 1, 1)]), tmp_path / "v.parquet")
    with pinned({"v.parquet": 0}), pytest.raises(EvergreenError, match="no versions"):
        historical(tmp_path, entity_rows([("a", 1)]), view(path="v.parquet"))


def test_more_than_memory_and_disk_hold_says_what_to_raise(tmp_path: Path) -> None:
    place = DeltaOfflineStoreConfig(lake=str(tmp_path), memory_mb=16, temp_directory=str(tmp_path / "spill"))

    def too_much() -> None:
        with connection(place) as duck:
            duck.execute("set max_temp_directory_size = '1kb'")
            duck.execute("create temp table many as select random() from range(10_000_000)")

    with pytest.raises(EvergreenError, match="memory_mb"):
        too_much()


def test_days_are_moments_at_midnight(tmp_path: Path) -> None:
    day = START.date()
    found = {"key": ["a"], "value": [1], "second": [1], "event_timestamp": [day], "created_timestamp": [day]}
    pq.write_table(pa.table(found), tmp_path / "v.parquet")
    frame = pd.DataFrame({"key": "a", "event_timestamp": [day, day - timedelta(days=1)]})
    assert values(historical(tmp_path, frame, view(path="v.parquet")), "value") == [(1,), None]


def test_a_store_of_s3_is_reached_at_the_endpoint_that_the_source_names(tmp_path: Path) -> None:
    place = view(path="s3://bucket/v", s3_endpoint_override="http://localhost:9000").batch_source
    found = source(config(tmp_path).offline_store, place)
    assert found.uri == "s3://bucket/v"
    assert found.options == {"AWS_ENDPOINT_URL": "http://localhost:9000", "AWS_ALLOW_HTTP": "true"}
    system, path = found.files()
    assert (system.type_name, path) == ("s3", "bucket/v")


def test_a_question_about_a_table_that_does_not_exist_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match="evergreen features compute"):
        historical(tmp_path, entity_rows([("a", 1)]), view())


def test_a_question_about_a_column_that_does_not_exist_names_those_there_are(tmp_path: Path) -> None:
    landed([Row("a", 1, 1, 1)], tmp_path)
    with pytest.raises(EvergreenError, match=r"no column 'third'.*second, key, value"):
        historical(tmp_path, entity_rows([("a", 1)]), view(), ["third"])


def test_keys_of_another_type_are_refused_not_guessed(tmp_path: Path) -> None:
    landed([Row("a", 1, 1, 1)], tmp_path)
    frame = entity_rows([("a", 1)]).assign(key=1)
    with pytest.raises(EvergreenError, match="not of one type"):
        historical(tmp_path, frame, view())
