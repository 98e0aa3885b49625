"""Feature health: what is measured equals a count by hand, what is wrong is not published, and all of it is told."""

import json
import math
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.catalog import dataset
from pipelines.contracts import EvergreenError, TransientError
from pipelines.features.health import alerts, examine, overview, published
from pipelines.features.health.bounds import ENOUGH
from pipelines.features.health.measures import EXACT, loaded, measured
from pipelines.features.health.suites import load
from pipelines.prove.servers import postgresql_missing
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores
from pipelines.stores.feature_store.health import Health, ViewHealth
from tests.flown import DATASETS, FLOWN
from tests.integration.stores.test_postgresql import on_postgresql, url  # noqa: F401 - fixtures

AS_OF = datetime(2013, 1, 5, tzinfo=UTC)
SUITES = PROJECT / "expectations" / "features"
VIEWS = sorted(path.stem for path in (PROJECT / "feature_repo").glob("*.sql"))
HOUR = timedelta(hours=1)


def times(count: int, end: datetime = AS_OF) -> pa.Array:
    return pa.array([end - HOUR * n for n in range(count)], pa.timestamp("us", "UTC"))


def rows(count: int = 24, end: datetime = AS_OF, **columns: Any) -> pa.Table:
    """Rows as carrier_punctuality's, one an hour; a column may be given as one value or as a list."""
    sound = {
        "carrier": "UA",
        "mean_arrival_delay_1d": 3.0,
        "late_share_1d": 0.2,
        "mean_arrival_delay_7d": 4.0,
        "late_share_7d": 0.25,
        "event_timestamp": times(count, end),
        "created_timestamp": times(count, end),
    }
    many = (list, pa.Array)
    return pa.table({n: v if isinstance(v, many) else [v] * count for n, v in (sound | columns).items()})


def seen(table: pa.Table, stores: Stores, as_of: datetime = AS_OF, version: int = 1) -> ViewHealth:
    return examine("carrier_punctuality", version, table, as_of, 0.5, stores)


def kept(stores: Stores) -> Health:
    return Health(stores.settings.database)


def learned(stores: Stores, runs: int = ENOUGH, **columns: Any) -> datetime:
    """A history of sound daily runs; the moment of the next one."""
    for day in range(runs):
        assert not seen(rows(end=AS_OF + day * 24 * HOUR, **columns), stores, AS_OF + day * 24 * HOUR).failed
    return AS_OF + runs * 24 * HOUR


odd = st.sampled_from([0.0, 1.0, math.nan, math.inf, 1e308, -1e308])
numbers = st.none() | st.floats(width=64, allow_subnormal=False) | odd
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    given_rows=st.lists(st.tuples(numbers, texts, st.none() | st.integers(-9, 9)), min_size=1, max_size=40)
)
def test_what_is_measured_equals_a_count_by_hand(
    given_rows: list[tuple[float | None, str | None, int | None]], stores: Stores
) -> None:
    floats, words, whole = map(list, zip(*given_rows, strict=True))
    schema = pa.schema([("f", pa.float64()), ("t", pa.string()), ("i", pa.int32())])
    table = pa.table({"f": floats, "t": words, "i": whole}, schema)
    with loaded(table, stores.settings) as held:
        found = measured(held)
    size = len(given_rows)
    missing = {
        "f": sum(v is None or math.isnan(v) for v in floats),
        "t": words.count(None),
        "i": whole.count(None),
    }
    assert found["nulls"] == {name: n / size for name, n in missing.items()}
    for name, values in (("f", floats), ("i", whole)):
        finite = [float(v) for v in values if v is not None and math.isfinite(v)]
        lies = found["distributions"][name]
        if not finite:
            assert (lies.min, lies.median, lies.mean, lies.max) == (None,) * 4
            continue
        assert (lies.min, lies.max) == (min(finite), max(finite))
        if max(map(abs, finite)) < 1e100:
            quantiles = np.quantile(finite, [0.01, 0.25, 0.5, 0.75, 0.99])
            told = [lies.p01, lies.p25, lies.median, lies.p75, lies.p99]
            assert told == pytest.approx(list(quantiles), rel=1e-9, abs=1e-9)
            scale = max(map(abs, finite))
            assert lies.mean == pytest.approx(mean(finite), rel=1e-9, abs=1e-9 * scale)
            if len(finite) > 1 and (scale > 1e-150 or not scale):  # the square of less is 0 to a computer
                assert lies.std == pytest.approx(stdev(finite), rel=1e-6, abs=1e-6 * scale)
    counts = Counter(word for word in words if word is not None)
    assert found["distributions"]["t"].distinct == len(counts)
    assert [n for _, n in found["distributions"]["t"].top] == [n for _, n in counts.most_common(5)]
    assert all(counts[word] == n for word, n in found["distributions"]["t"].top)
    json.dumps(found["nulls"], allow_nan=False)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, None, False, True], pa.bool_()),
        ([[1.0], None, [2.0, 3.0], []], pa.list_(pa.float64())),
        ([b"a", None, b"\xff", b"b"], pa.binary()),
        ([AS_OF, None, AS_OF - HOUR, AS_OF], pa.timestamp("us", "UTC")),
        ([date(2013, 1, 1), None, date(2013, 1, 2), date(2013, 1, 3)], pa.date32()),
        ([None] * 4, pa.null()),
        (["a", None, "b", "a"], pa.dictionary(pa.int32(), pa.string())),
        ([{"x": 1}, None, {"x": 2}, {"x": 3}], pa.struct([("x", pa.int64())])),
    ],
)
def test_every_type_a_feature_may_have_is_measured_and_kept(
    values: list[Any], kind: pa.DataType, stores: Stores
) -> None:
    table = pa.table({'odd "name"': pa.array(values, kind), "event_timestamp": times(4)})
    found = examine("of_no_suite", 1, table, AS_OF, 0.0, stores)
    assert found.nulls == {'odd "name"': values.count(None) / 4}
    assert kept(stores).latest() == [found]
    assert found.checks == ()


def test_many_rows_are_measured_by_estimates_near_the_truth(stores: Stores) -> None:
    count = EXACT + 1
    values = np.random.default_rng(1).normal(size=count)
    table = pa.table({"f": values, "event_timestamp": pa.array(np.arange(count), pa.timestamp("us", "UTC"))})
    found = examine("of_no_suite", 1, table, AS_OF, 0.0, stores).distributions["f"]
    assert found.median == pytest.approx(0, abs=0.02)
    assert found.p01 == pytest.approx(np.quantile(values, 0.01), abs=0.1)
    assert found.distinct == pytest.approx(count, rel=0.2)


def test_a_sound_run_is_recorded_whole(stores: Stores) -> None:
    found = seen(rows(late_share_1d=[None] * 6 + [0.5] * 18), stores)
    assert (found.rows, found.moments, found.seconds, found.freshness) == (24, 24, 0.5, timedelta(0))
    assert found.nulls["late_share_1d"] == 0.25
    assert len(found.checks) > 8
    assert found.failed == ()
    assert kept(stores).latest() == [found]


def test_running_again_changes_nothing(stores: Stores) -> None:
    learned(stores)
    before = kept(stores).history("carrier_punctuality", 99)
    again = seen(rows(end=before[0].as_of), stores, before[0].as_of)
    assert again == before[0]
    assert kept(stores).history("carrier_punctuality", 99) == before


@pytest.mark.parametrize(
    ("wrong", "feature"),
    [
        ({"late_share_1d": [1.5, *[0.2] * 23]}, "late_share_1d"),
        ({"late_share_7d": [-0.1, *[0.2] * 23]}, "late_share_7d"),
        ({"late_share_7d": [math.nan, *[0.2] * 23]}, "late_share_7d"),
        ({"mean_arrival_delay_1d": [180.5, *[0.2] * 23]}, "mean_arrival_delay_1d"),
        ({"mean_arrival_delay_7d": [None, *[0.2] * 23]}, "mean_arrival_delay_7d"),
        ({"carrier": [None, *["UA"] * 23]}, "carrier"),
        ({"event_timestamp": times(24, AS_OF + HOUR)}, "event_timestamp"),
        ({"event_timestamp": [AS_OF] * 24, "created_timestamp": [AS_OF] * 24}, "carrier, event_timestamp"),
    ],
)
def test_what_breaks_a_critical_rule_is_refused_named_and_recorded(
    wrong: dict[str, Any], feature: str, stores: Stores
) -> None:
    with pytest.raises(
        EvergreenError, match=rf"carrier_punctuality@v1.*{feature}.*Nothing of it was published"
    ) as told:
        seen(rows(**wrong), stores)
    assert not isinstance(told.value, TransientError)
    [record] = kept(stores).latest()
    assert record.refused
    assert record.checks[0].feature.startswith(feature)
    assert record.newest is None, "what is refused makes the table no fresher"
    [alert] = alerts([record])
    assert alert["act"].startswith("Yes")


def test_a_column_that_the_suite_names_and_the_rows_lack_is_refused(stores: Stores) -> None:
    with pytest.raises(EvergreenError, match=r"no column late_share_7d; mend carrier_punctuality\.json"):
        seen(rows().drop_columns(["late_share_7d"]), stores)


def test_without_rows_nothing_is_checked_and_the_view_grows_older(stores: Stores) -> None:
    seen(rows(), stores)
    later = seen(rows(0), stores, AS_OF + 5 * HOUR)
    assert (later.rows, later.checks, later.freshness) == (0, (), 5 * HOUR)


def test_nulls_unlike_any_before_warn_and_are_published(stores: Stores) -> None:
    now = learned(stores, mean_arrival_delay_1d=[None, *[1.0] * 23])
    usual = seen(rows(end=now, mean_arrival_delay_1d=[None, *[1.0] * 23]), stores, now)
    assert usual.history == ENOUGH
    assert usual.failed == ()
    found = seen(rows(end=now, mean_arrival_delay_1d=[None] * 20 + [1.0] * 4), stores, now)
    assert [(c.feature, c.severity) for c in found.failed] == [("mean_arrival_delay_1d", "warning")]
    [alert] = alerts([found, usual])
    assert "mean_arrival_delay_1d: filled about as often as in earlier runs" in alert["why"]
    assert alert["act"].startswith("Not now")


@pytest.mark.parametrize("times_more", [0.25, 3])
def test_far_more_or_fewer_rows_at_a_moment_warn(times_more: float, stores: Stores) -> None:
    four = [AS_OF - HOUR * (n // 4) for n in range(24)]
    names = ["UA", "AA", "DL", "B6"] * 6

    def hourly(end: datetime, each: int) -> pa.Table:
        moments = [t + (end - AS_OF) for t in four[::4] for _ in range(each)]
        keys = [f"{n:02}" for n in range(each)] * 6
        return rows(len(moments), carrier=keys, event_timestamp=moments, created_timestamp=moments)

    assert len(names) == len(four)
    for day in range(ENOUGH):
        assert not seen(hourly(AS_OF + 24 * HOUR * day, 4), stores, AS_OF + 24 * HOUR * day).failed
    now = AS_OF + 24 * HOUR * ENOUGH
    found = seen(hourly(now, int(4 * times_more)), stores, now)
    assert ["volume" in check.rule for check in found.failed] == [True]


def test_what_was_refused_is_no_history(stores: Stores) -> None:
    now = learned(stores, mean_arrival_delay_1d=1.0)
    empty = {"mean_arrival_delay_1d": pa.nulls(24, pa.float64())}
    for hour in range(3):
        with pytest.raises(EvergreenError):
            seen(rows(end=now + HOUR * hour, late_share_1d=7.0, **empty), stores, now + HOUR * hour)
    found = seen(rows(end=now + 5 * HOUR, **empty), stores, now + 5 * HOUR)
    assert [check.feature for check in found.failed] == ["mean_arrival_delay_1d"]


def test_each_version_has_a_history_of_its_own(stores: Stores) -> None:
    now = learned(stores)
    assert seen(rows(end=now), stores, now, version=2).history == 0
    assert seen(rows(end=now), stores, now).history == ENOUGH


def test_values_older_than_they_live_warn(stores: Stores) -> None:
    found = seen(rows(end=AS_OF - 49 * HOUR), stores)
    assert [("freshness" in c.rule, c.severity) for c in found.failed] == [(True, "warning")]


def test_the_table_is_measured_once_the_rows_are_in_it(stores: Stores) -> None:
    table = rows()
    stores.tables.replace("features", "carrier_punctuality/v1", table, None)
    found = published(seen(table, stores), stores)
    assert (found.total, found.newest) == (24, AS_OF)
    assert found.size > 500
    assert kept(stores).latest() == [found]
    stores.tables.replace(
        "features", "carrier_punctuality/v1", table.slice(0, 0), f"event_timestamp > '{AS_OF - HOUR}'"
    )
    later = published(seen(rows(0), stores, AS_OF + HOUR), stores)
    assert later.total == 23
    assert later.newest == pytest.approx(AS_OF - HOUR, abs=timedelta(milliseconds=1))


def test_a_broken_suite_says_which_file_to_mend(tmp_path: Path) -> None:
    for text in ("{", '{"expectations": []}', '{"expectations": [{"type": "expect_nothing", "kwargs": {}}]}'):
        (tmp_path / "v.json").write_text(text)
        with pytest.raises(EvergreenError, match=r"v\.json.*mend it"):
            load("v", 1, tmp_path)


def test_a_version_may_have_a_suite_of_its_own(tmp_path: Path) -> None:
    assert load("v", 1, tmp_path) is None
    for name in ("v", "v@v2"):
        (tmp_path / f"{name}.json").write_text((SUITES / "aircraft.json").read_text())
    assert [load("v", n, tmp_path).path.name for n in (1, 2, 3)] == ["v.json", "v@v2.json", "v.json"]


def test_every_view_has_a_suite_that_great_expectations_reads_whole() -> None:
    assert len(VIEWS) >= 8
    assert {path.stem for path in SUITES.glob("*.json")} == set(VIEWS)
    for view in VIEWS:
        suite = load(view, 1, SUITES)
        assert suite is not None
        assert len(suite.expectations) >= 8


@pytest.fixture(scope="module")
def real(january: Path) -> dict[str, pa.Table]:
    """Each view's rows of the first days of 2013, computed from its SQL file alone."""
    silver = Stores(Settings(_env_file=None, home=january))
    end = datetime(2013, 1, 12)  # noqa: DTZ001 - the SQL's times are naive UTC
    found = {}
    with duckdb.connect() as connection:
        for spec in map(dataset, DATASETS):
            zoned = [n for n, column in spec.columns.items() if column.type == "timestamp"]
            naive = ", ".join(f'"{n}"::timestamp AS "{n}"' for n in zoned)
            connection.register("landed", silver.tables.silver(spec).to_table())
            connection.execute(
                f"SET TimeZone = 'UTC'; CREATE TABLE {spec.name} AS SELECT * REPLACE ({naive}) FROM landed"
            )
        for view in FLOWN:
            query = (PROJECT / "feature_repo" / f"{view}.sql").read_text()
            window = {"start": end - timedelta(days=30), "end": end}
            answer = connection.execute(
                query, {n: v for n, v in window.items() if f"${n}" in query}
            ).to_arrow_table()
            answer = answer.filter(pc.field("event_timestamp") <= end)
            zone = pa.timestamp("us", "UTC")
            kinds = [zone if name.endswith("_timestamp") else kind for name, kind in zip(
                answer.column_names, answer.schema.types, strict=True)]  # fmt: skip
            found[view] = answer.cast(pa.schema(zip(answer.column_names, kinds, strict=True)))
    return found


def test_real_features_keep_every_rule(real: dict[str, pa.Table], stores: Stores) -> None:
    end = datetime(2013, 1, 12, tzinfo=UTC)
    for view in FLOWN:
        table = real[view]
        assert table.num_rows > 50, view
        found = examine(view, 1, table, end, 0.0, stores)
        assert found.failed == (), view
        assert len(found.checks) >= 5
        assert set(found.nulls) == {n for n in table.column_names if not n.endswith("_timestamp")}


def test_a_person_reads_one_line_per_view_and_one_per_feature(stores: Stores) -> None:
    with pytest.raises(EvergreenError, match="run `evergreen features compute`"):
        overview(stores)
    seen(rows(late_share_1d=None), stores)
    [line] = overview(stores)
    assert (line["view"], line["rows"], line["state"]) == ("carrier_punctuality", 24, "healthy")
    assert line["most_nulls"] == "late_share_1d 100.0%"
    features = {each["feature"]: each for each in overview(stores, "carrier_punctuality")}
    assert features["mean_arrival_delay_7d"]["median"] == 4.0
    assert json.dumps(list(features.values()))
    with pytest.raises(EvergreenError, match="there are: carrier_punctuality"):
        overview(stores, "other")


@pytest.mark.skipif(postgresql_missing() is not None, reason=str(postgresql_missing()))
def test_the_record_is_the_same_on_postgresql(on_postgresql: Stores) -> None:  # noqa: F811 - a fixture
    odd = rows(late_share_1d=[math.nan, *[0.2] * 23], carrier=["\u2028'\"\\", *["UA"] * 23])
    with pytest.raises(EvergreenError, match="late_share_1d"):
        seen(odd, on_postgresql)
    found = seen(rows(), on_postgresql)
    assert kept(on_postgresql).latest() == [found]
    later = seen(rows(end=AS_OF + HOUR), on_postgresql, AS_OF + HOUR)
    assert kept(on_postgresql).history("carrier_punctuality", 9) == [later, found]
