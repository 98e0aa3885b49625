"""Rules of the point-in-time join, held against an oracle of a few lines."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from feast import Entity, FeatureView, Field, FileSource
from feast.types import Int64, String
from feast.value_type import ValueType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.contracts import EvergreenError
from pipelines.stores.offline import DeltaOfflineStore

START = datetime(2013, 1, 1, tzinfo=UTC)
TTL = timedelta(minutes=8)
minutes = st.integers(0, 20)
KEYS = ["a", "b", "c"]
feature_rows = st.dictionaries(
    st.tuples(st.sampled_from(KEYS[:2]), minutes), st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1
)
questions = st.lists(st.tuples(st.sampled_from(KEYS), minutes), min_size=1, max_size=30)


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def view(ttl: timedelta = TTL) -> FeatureView:
    key = Entity(name="key", join_keys=["key"], value_type=ValueType.STRING)
    source = FileSource(
        name="v", path="v", timestamp_field="event_timestamp", created_timestamp_column="created_timestamp"
    )
    fields = [Field(name="key", dtype=String), Field(name="value", dtype=Int64)]
    return FeatureView(name="v", entities=[key], ttl=ttl, schema=fields, source=source)


def config(lake: Any) -> Any:
    return SimpleNamespace(offline_store=SimpleNamespace(lake=str(lake), threads=1))


def landed(rows: dict[tuple[str, int], tuple[int, int]], lake: Any) -> None:
    frame = pa.table(
        {
            "key": [key for key, _ in rows],
            "value": pa.array([value for _, value in rows.values()], pa.int64()),
            "event_timestamp": pa.array([at(m) for _, m in rows], pa.timestamp("us", "UTC")),
            "created_timestamp": pa.array(
                [at(m + late) for (_, m), (late, _) in rows.items()], pa.timestamp("us", "UTC")
            ),
        }
    )
    write_deltalake(f"{lake}/v", frame, mode="overwrite")


def joined(asked: list[tuple[str, int]], lake: Any) -> list[int | None]:
    frame = pd.DataFrame({"key": [k for k, _ in asked], "event_timestamp": [at(m) for _, m in asked]})
    job = DeltaOfflineStore.get_historical_features(
        config(lake), [view()], ["v:value"], frame, None, "p", full_feature_names=True
    )
    answer = job.to_df()
    assert list(answer["key"]) == [k for k, _ in asked], "every question comes back, in its order"
    return [None if pd.isna(value) else int(value) for value in answer["v__value"]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.dictionaries(
        st.tuples(st.sampled_from(KEYS[:2]), minutes), st.tuples(st.just(0), st.integers(0, 9)), min_size=1
    ),
    asked=questions,
)
def test_a_row_gets_the_newest_value_known_at_its_moment_and_not_older_than_the_ttl(
    rows: Any, asked: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake = tmp_path_factory.mktemp("lake")
    landed(rows, lake)

    def oracle(key: str, minute: int) -> int | None:
        known = [m for k, m in rows if k == key and m <= minute]
        fresh = known and timedelta(minutes=minute - max(known)) <= TTL
        return rows[key, max(known)][1] if fresh else None

    assert joined(asked, lake) == [oracle(*question) for question in asked]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=feature_rows, asked=questions)
def test_no_value_is_seen_before_it_could_be_known(
    rows: Any, asked: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A value that became known late is invisible until then, whatever its event time says."""
    lake = tmp_path_factory.mktemp("lake")
    landed(rows, lake)
    for (key, minute), value in zip(asked, joined(asked, lake), strict=True):
        visible = {v for (k, m), (late, v) in rows.items() if k == key and m + late <= minute}
        assert value is None or value in visible


def test_a_question_about_a_table_that_does_not_exist_names_the_remedy(tmp_path: Any) -> None:
    with pytest.raises(EvergreenError, match="evergreen features"):
        joined([("a", 1)], tmp_path)
