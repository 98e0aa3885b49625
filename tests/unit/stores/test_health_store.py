"""The record of feature health: what was written last is what is read, later runs look back on, and Prometheus sees."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import monotonic
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pipelines.features.health.bounds import ENOUGH, FEWEST, LAST, SPAN, parameters, recent
from pipelines.serving.metrics import FeatureHealth
from pipelines.stores.feature_store.health import Check, Distribution, Health, Past, ViewHealth

START = datetime(2013, 1, 1, tzinfo=UTC)
shares = st.floats(0, 1)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
finite = st.none() | st.floats(allow_nan=False, allow_infinity=False)
checks = st.builds(Check, text, text, st.sampled_from(["critical", "warning", "info"]), st.booleans(), text)
distributions = st.builds(
    Distribution,
    distinct=st.none() | st.integers(0, 2**60),
    min=finite,
    median=finite,
    std=finite,
    top=st.lists(st.tuples(text, st.integers(0, 2**60)), max_size=3).map(tuple),
)
healths = st.builds(
    ViewHealth,
    view=st.sampled_from(["a", "b"]),
    version=st.integers(1, 2),
    as_of=st.integers(0, 3).map(lambda hours: START + timedelta(hours=hours)),
    rows=st.integers(0, 2**60),
    seconds=st.floats(0, 1e6),
    moments=st.integers(0, 2**60),
    total=st.integers(0, 2**60),
    size=st.integers(0, 2**60),
    newest=st.none() | st.integers(-(10**15), 10**15).map(lambda us: START + timedelta(microseconds=us)),
    nulls=st.dictionaries(text, shares, max_size=2),
    distributions=st.dictionaries(text, distributions, max_size=2),
    history=st.integers(0, 99),
    checks=st.lists(checks, max_size=3).map(tuple),
)


def run(hours: int = 0, **said: Any) -> ViewHealth:
    return ViewHealth("v", 1, START + timedelta(hours=hours), **{"rows": 5, "seconds": 1.0} | said)


@settings(max_examples=25)
@given(st.lists(healths, min_size=1, max_size=8))
def test_what_was_recorded_last_of_a_view_version_and_moment_is_what_is_read(told: list[ViewHealth]) -> None:
    with TemporaryDirectory() as home:
        store = Health(f"sqlite:///{home}/e.db")
        for each in told:
            store.record(each)
        kept = {(each.view, each.version, each.as_of): each for each in told}
        newest: dict[Any, ViewHealth] = {}
        for key in sorted(kept):
            newest[key[:2]] = kept[key]
        assert store.latest() == [newest[key] for key in sorted(newest)]
        for view in ("a", "b"):
            ours = sorted((k for k in kept if k[0] == view), key=lambda k: (k[2], k[1]), reverse=True)
            assert store.history(view, 2) == [kept[k] for k in ours[:2]]
            assert store.history(view, 9, version=2) == [kept[k] for k in ours if k[1] == 2]


def test_a_record_of_nothing_is_empty_and_two_may_write_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/e.db"
    one, other = Health(url), Health(url)
    assert (one.latest(), one.history("v", 3), one.past("v", 1, START, 3), one.before("v", 1, START)) == (
        [], [], [], None,
    )  # fmt: skip
    one.record(run(rows=1))
    other.record(run(rows=2))
    assert [each.rows for each in one.latest()] == [2]


def test_nothing_is_opened_before_it_is_first_used(tmp_path: Path) -> None:
    store = Health(f"sqlite:///{tmp_path}/e.db")
    assert list(tmp_path.iterdir()) == []
    store.record(run())
    assert (tmp_path / "e.db").is_file()


def test_a_view_is_as_fresh_as_its_newest_value() -> None:
    assert run(newest=START - timedelta(hours=3)).freshness == timedelta(hours=3)
    assert run().freshness is None


@pytest.mark.parametrize(("severity", "refused"), [("critical", True), ("warning", False), ("info", False)])
def test_only_a_failed_critical_check_refuses(severity: str, refused: bool) -> None:
    failed = run(checks=(Check("r", "f", severity, False, "7"), Check("r", "f", "critical", True, "")))
    assert failed.refused is refused
    assert len(failed.failed) == 1


def test_later_runs_look_back_only_on_earlier_moments_with_rows_that_were_not_refused(tmp_path: Path) -> None:
    store = Health(f"sqlite:///{tmp_path}/e.db")
    bad = (Check("r", "f", "critical", False, ""),)
    for each in (run(1, rows=1), run(2, rows=0), run(3, rows=3, checks=bad), run(4, rows=4), run(5, rows=5)):
        store.record(each)
    store.record(ViewHealth("v", 2, START, 9, 1.0))
    assert [each.rows for each in store.past("v", 1, START + timedelta(hours=5), 9)] == [4, 1]
    before = [store.before("v", 1, START + timedelta(hours=hours)) for hours in range(5)]
    assert [each and each.rows for each in before] == [None, 1, 0, 0, 4], (
        "a run without rows knows the table too"
    )


@settings(max_examples=100)
@given(
    hours=st.lists(st.integers(1, 24 * 40), unique=True, max_size=60),
    data=st.data(),
)
def test_a_history_counts_once_it_is_long_enough_and_reaches_no_further_than_it_must(
    hours: list[int], data: st.DataObject
) -> None:
    past = [Past(START - timedelta(hours=h), 1, 1, {}) for h in sorted(hours)]
    found = recent(past, START)
    for n, each in enumerate(past):
        if found and (n < FEWEST or START - each.as_of <= LAST):
            assert each in found
    assert all(n < FEWEST or START - each.as_of <= LAST for n, each in enumerate(found))
    if found:
        assert len(found) >= ENOUGH
        assert START - found[-1].as_of >= SPAN


@settings(max_examples=100)
@given(
    past=st.lists(
        st.tuples(st.integers(1, 10_000), st.integers(1, 100), shares), min_size=ENOUGH, max_size=20
    ),
    pick=st.integers(0, 99),
)
def test_a_run_like_an_earlier_one_is_within_the_bounds(
    past: list[tuple[int, int, float]], pick: int
) -> None:
    runs = [Past(START, rows, moments, {"f": nulls}) for rows, moments, nulls in past]
    again = runs[pick % len(runs)]
    bounds: Any = parameters(again.rows, again.moments, START, runs, [])
    assert bounds["rows_low"] <= again.rows <= bounds["rows_high"]
    assert bounds["f_filled_low"] <= 1 - again.nulls["f"]


def test_a_run_unlike_any_before_is_out_of_bounds() -> None:
    runs = [Past(START, 100, 10, {"f": 0.05})] * ENOUGH
    bounds: Any = parameters(1000, 10, START, runs, [])
    assert bounds["rows_high"] < 1000
    assert bounds["rows_low"] > 10
    assert bounds["f_filled_low"] > 1 - 0.5


def test_times_are_bounds_without_a_history() -> None:
    bounds = parameters(5, 5, START, [], ["as_of_minus_6h", "rows_low"])
    assert bounds == {"as_of": START, "as_of_minus_6h": START - timedelta(hours=6)}


def scraped(collector: FeatureHealth) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The gauges of one scrape, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(collector)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for sample in (sample for family in families for sample in family.samples):
        labels = tuple(sorted(sample.labels.items()))
        assert labels not in found.get(sample.name, {}), "Prometheus refuses a page that says a thing twice"
        found.setdefault(sample.name, {})[labels] = sample.value
    return found


class At(FeatureHealth):
    """Reads anew with each scrape, and waits for it."""

    FRESH, PATIENCE = 0.0, 10.0


def test_the_last_run_of_each_view_and_version_is_scraped(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/e.db"
    failed = (Check("r", "f", "warning", False, "7"), Check("r", "", "critical", True, "0"))
    said = {"total": 70, "size": 900, "nulls": {"f": 0.25, 'odd "name"\n': 1.0}, "checks": failed}
    Health(url).record(run(0, rows=1))
    Health(url).record(run(5, newest=START + timedelta(hours=2), seconds=1.5, **said))
    Health(url).record(ViewHealth("v", 2, START, 9, 0.5))
    found = scraped(At.of(url))
    one, two = (("version", "1"), ("view", "v")), (("version", "2"), ("view", "v"))
    assert found["evergreen_feature_health_up"] == {(): 1}
    assert found["evergreen_feature_freshness_seconds"] == {one: 3 * 3600}
    assert found["evergreen_feature_newest_timestamp_seconds"] == {
        one: (START + timedelta(hours=2)).timestamp()
    }
    assert found["evergreen_feature_rows"] == {one: 5, two: 9}
    assert found["evergreen_feature_table_rows"] == {one: 70, two: 0}
    assert found["evergreen_feature_compute_seconds"] == {one: 1.5, two: 0.5}
    assert found["evergreen_feature_failed_checks"] == {one: 1, two: 0}
    assert found["evergreen_feature_refused"] == {one: 0, two: 0}
    assert found["evergreen_feature_null_share"] == {
        (("feature", "f"), *one): 0.25, (("feature", 'odd "name"\n'), *one): 1.0,
    }  # fmt: skip


def test_a_scrape_does_not_fail_while_the_database_is_gone_and_recovers_with_it(tmp_path: Path) -> None:
    there, told = [False], [run()]

    def latest() -> list[ViewHealth]:
        if not there[0]:
            raise OSError("gone")
        return told

    collector = At(latest)
    for up in (False, True, False, True):
        there[0] = up
        found = scraped(collector)
        assert found["evergreen_feature_health_up"] == {(): int(up)}
        assert ("evergreen_feature_rows" in found) is up
    assert scraped(At.of(f"sqlite:///{tmp_path}"))["evergreen_feature_health_up"] == {(): 0}


def test_a_database_that_hangs_delays_a_scrape_by_its_patience_and_is_asked_once() -> None:
    hanging, asked = Event(), []

    def latest() -> list[ViewHealth]:
        asked.append(None)
        hanging.wait(30)
        return [run()]

    collector = FeatureHealth(latest)
    try:
        begun = monotonic()
        for _ in range(3):
            assert scraped(collector)["evergreen_feature_health_up"] == {(): 0}
        assert monotonic() - begun < 3 * collector.PATIENCE + 1
        assert len(asked) == 1
    finally:
        hanging.set()


def test_what_was_read_is_good_for_some_seconds() -> None:
    asked: list[None] = []

    def latest() -> list[ViewHealth]:
        asked.append(None)
        return [run()]

    collector = FeatureHealth(latest)
    collector.PATIENCE = 10.0
    for _ in range(5):
        assert scraped(collector)["evergreen_feature_health_up"] == {(): 1}
    assert len(asked) == 1
