"""Rules of the feature tables: what they say of a moment does not depend on how one got there."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from pipelines import catalog
from pipelines.contracts import NothingToDo
from pipelines.features import compute, view_rows
from pipelines.features.watermark import watermark
from pipelines.prove.worlds import sandbox
from pipelines.stores import Stores
from pipelines.stores.feature_store.online_values import OnlineValues
from pipelines.training.training_set import build, labels
from tests.flown import DATASETS, FLOWN
from tests.integration.conftest import AS_OF
from tests.once import copied_home

SPEC = catalog.model("flight_delays")


def table(stores: Stores, view: str) -> pd.DataFrame:
    version = stores.features.version(view)
    rows = stores.tables.dataset("features", version.table).to_table().to_pandas()
    keys = [c for c in rows if rows[c].dtype == object]
    return rows.sort_values([*keys, "event_timestamp"], ignore_index=True)


def online(stores: Stores, entities: dict[str, str], moment: datetime | None = None) -> dict[str, Any]:
    return stores.features.online(stores.features.feature_names(SPEC), entities, moment).values


def test_a_table_computed_in_steps_equals_one_computed_at_once(january: Path, tmp_path: Path) -> None:
    """Without the views' suites, which have rules of their own."""
    flown = sandbox(copied_home(january, tmp_path / "home"))
    for hours in (100, 24, 0):
        compute.compute(AS_OF - timedelta(hours=hours), flown)
    assert len(FLOWN) >= 9
    for view in FLOWN:
        start = datetime(2012, 12, 31, tzinfo=UTC)
        at_once = view_rows.rows(flown.features.version(view), start, AS_OF, flown)
        kept = table(flown, view)
        assert len(kept) == len(at_once) > 0, view
        other = at_once.to_pandas().sort_values(
            [*[c for c in kept if kept[c].dtype == object], "event_timestamp"], ignore_index=True
        )
        pd.testing.assert_frame_equal(kept, other[kept.columns], check_dtype=False, rtol=1e-9)


def test_computing_again_does_no_work(computed: Stores) -> None:
    views = [view.name for view in computed.features.views()]
    before = {v: computed.tables.version("features", computed.features.version(v).table) for v in views}
    assert len(before) >= 9
    again = compute.compute(AS_OF, computed)
    assert again.rows == {}
    assert again.versions == before


def test_every_value_was_known_at_its_moment(computed: Stores) -> None:
    """Congestion, counted by brute force from the departures known at each tick."""
    congestion = table(computed, "origin_congestion").sample(50, random_state=1)
    departures = computed.tables.silver(catalog.dataset("departures")).to_table().to_pandas()
    assert len(congestion) == 50
    for row in congestion.itertuples():
        ours = departures[departures.origin == row.origin]
        known = ours[
            (ours.available_at <= row.event_timestamp)
            & (ours.available_at > row.event_timestamp - pd.Timedelta(hours=3))
        ]
        assert row.departures_3h == len(known)
        if len(known):
            assert row.mean_departure_delay_3h == pytest.approx(known.departure_delay.clip(upper=180).mean())


def test_an_arrival_is_no_departure(computed: Stores) -> None:
    """An aircraft's half day, averaged by brute force over its departures alone and its arrivals alone."""
    rotation = table(computed, "aircraft_rotation")
    rows = rotation[rotation.mean_departure_delay_12h.notna() & rotation.mean_arrival_delay_12h.notna()]
    known = {
        name: computed.tables.silver(catalog.dataset(name)).to_table().to_pandas()
        for name in ("departures", "flights")
    }
    assert len(rows) > 100
    for row in rows.sample(50, random_state=1).itertuples():
        for name, delay in (("departures", "departure_delay"), ("flights", "arrival_delay")):
            of = known[name][known[name].tailnum == row.tailnum]
            since = row.event_timestamp - pd.Timedelta(hours=12)
            inside = of[(of.available_at >= since) & (of.available_at <= row.event_timestamp)][delay].dropna()
            expected = inside.astype("float64").clip(upper=180).mean()
            assert getattr(row, f"mean_{delay}_12h") == pytest.approx(expected), name


def test_the_newest_values_are_online_and_an_older_moment_changes_nothing(counted: Stores) -> None:
    newest = table(counted, "origin_weather").query("origin == 'EWR'").iloc[-1]
    entities = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "tailnum": "N14228"}
    assert online(counted, entities)["origin_weather__temp"] == newest.temp
    compute.compute(AS_OF - timedelta(days=3), counted)
    assert online(counted, entities)["origin_weather__temp"] == newest.temp


def test_what_is_older_than_its_ttl_is_missing_online_as_in_training(computed: Stores) -> None:
    entities = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "tailnum": "N14228"}
    fresh = online(computed, entities, AS_OF)
    late = online(computed, entities, AS_OF + timedelta(days=1))
    assert fresh["origin_weather__temp"] is not None
    assert late["origin_weather__temp"] is None
    assert late["aircraft__year"] == fresh["aircraft__year"] is not None


def test_an_unknown_entity_has_every_feature_missing_that_depends_on_it(computed: Stores) -> None:
    entities = {"carrier": "??", "origin": "EWR", "dest": "IAH", "tailnum": "N14228"}
    values = online(computed, entities)
    assert list(values) == computed.features.feature_names(SPEC)
    assert {n for n, v in values.items() if n.startswith("carrier_punctuality")} <= {
        n for n, v in values.items() if v is None
    }


def test_online_and_offline_say_the_same_of_the_newest_moment(computed: Stores) -> None:
    rows = labels(SPEC, datetime(2013, 1, 12, tzinfo=UTC), computed)
    rows = rows[rows.event_timestamp >= AS_OF].drop_duplicates(["carrier", "origin", "dest"]).head(40)
    rows["event_timestamp"] = pd.Timestamp(AS_OF)
    offline = computed.features.historical(computed.features.feature_names(SPEC), rows)
    assert len(offline) == 40
    for _, row in offline.iterrows():
        answer = online(computed, {key: row[key] for key in SPEC.entities}, AS_OF)
        for name, value in answer.items():
            same = pd.isna(row[name]) if value is None else row[name] == pytest.approx(value)
            assert same, (name, value, row[name])


def test_no_training_row_knows_the_future(computed: Stores) -> None:
    """The training set as of T is the same when everything after T is taken away."""
    full = labels(SPEC, AS_OF, computed)
    assert len(full) > 3000
    assert (full.label_known_at <= pd.Timestamp(AS_OF)).all()
    train = full[full.split == "train"]
    assert (train.label_known_at < pd.Timestamp(AS_OF - SPEC.training.holdout)).all()


def test_a_label_that_counts_later_than_it_landed_waits_for_that(
    computed: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one answer is known sooner than the other, label.sql lets both wait for the slower."""
    slow = SPEC.label_sql.replace("available_at as", "available_at + interval 3 days as")
    assert slow != SPEC.label_sql
    at_once = labels(SPEC, AS_OF, computed)
    monkeypatch.setattr(type(SPEC), "label_sql", property(lambda _: slow))
    waited = labels(SPEC, AS_OF, computed)
    assert 1000 < len(waited) < len(at_once)
    assert (waited.label_known_at <= pd.Timestamp(AS_OF)).all()


def test_the_same_question_has_the_same_answer_and_digest(computed: Stores) -> None:
    first, again = build(SPEC, AS_OF, computed), build(SPEC, AS_OF, computed)
    assert first == again
    assert first.rows > 1000
    assert first.holdout_rows > 1000
    other = build(SPEC, AS_OF - timedelta(hours=1), computed)
    assert other.digest != first.digest


def test_a_late_batch_recomputes_from_where_it_could_have_been_known(counted: Stores) -> None:
    from pipelines.contracts import Batch, BatchState, IngestResult
    from pipelines.stores.tables import silver_schema

    before = table(counted, "origin_weather")
    spec, known = catalog.dataset("weather"), AS_OF - timedelta(hours=5, minutes=30)
    row = dict.fromkeys(silver_schema(spec).names) | {
        "origin": "EWR", "observed_at": known - timedelta(minutes=90), "temp": 99.0, "available_at": known,
        "_batch": "f" * 64, "_line": 2,
    }  # fmt: skip
    counted.tables.append("silver", "weather", pa.Table.from_pylist([row], silver_schema(spec)), "f" * 64)
    batch = Batch("f" * 64, "weather", "late.csv", 1)
    counted.ledger.see(batch)
    result = IngestResult("f" * 64, "weather", "late.csv", BatchState.COMMITTED, 1, 1)
    counted.ledger.record(result.__class__(**{**vars(result), "first_known": known, "last_known": known}))
    run = compute.compute(AS_OF, counted)
    after = table(counted, "origin_weather")
    assert set(run.rows) == {"origin_weather"}
    assert len(after) == len(before) + 1
    assert 99.0 in set(after.temp)


def test_features_of_nothing_say_that_there_is_nothing(stores: Stores) -> None:
    with pytest.raises(NothingToDo, match="evergreen replay"):
        watermark(stores, catalog.datasets().values(), timedelta(hours=36))


def test_a_dataset_that_is_late_holds_the_others_back_only_so_long(flown: Stores) -> None:
    needed = [catalog.dataset(name) for name in DATASETS]
    newest = max(flown.ledger.watermark(spec.name) for spec in needed if not spec.reference)
    assert newest - timedelta(hours=36) <= watermark(flown, needed, timedelta(hours=36)) <= newest
    assert watermark(flown, needed, timedelta(0)) == newest


def test_an_entity_that_is_null_has_no_value_in_the_views_it_keys_and_all_others_stay(
    computed: Stores,
) -> None:
    spec = catalog.model("flight_delays")
    names = computed.features.feature_names(spec)
    whole = {name: field.example for name, field in spec.entities.items()}
    full = computed.features.online(names, whole)
    found = computed.features.online(names, whole | {"tailnum": None})
    assert list(found.values) == names
    keyed = [name for name in names if name.startswith("aircraft")]
    assert len(keyed) >= 3
    assert all(found.values[name] is None for name in keyed)
    others = [name for name in names if name not in keyed]
    assert any(full.values[name] is not None for name in others)
    assert {n: found.values[n] for n in others} == {n: full.values[n] for n in others}
    assert found.known == full.known
    nobody = computed.features.online(names, dict.fromkeys(whole))
    assert set(nobody.values.values()) == {None}


def test_each_value_online_says_when_it_happened(computed: Stores) -> None:
    spec = catalog.model("flight_delays")
    names = computed.features.feature_names(spec)
    found = computed.features.online(names, {n: f.example for n, f in spec.entities.items()})
    assert found.since
    assert set(found.since) == {name for name, value in found.values.items() if value is not None}
    assert max(found.since.values()) <= AS_OF


def test_questions_that_are_looked_up_together_find_what_each_finds_alone(computed: Stores) -> None:
    names = computed.features.feature_names(SPEC)
    asked = [
        ({**ENTITIES, **changed}, moment) for changed in CHANGES for moment in (None, AS_OF, AS_OF + YEAR)
    ]
    together = computed.features.online_rows(names, asked)
    assert together == [computed.features.online(names, *each) for each in asked]
    assert len({str(found.values) for found in together}) > len(CHANGES)
    assert computed.features.online_rows(names, []) == []


def test_what_is_read_without_feasts_messages_is_what_feast_answers(computed: Stores) -> None:
    names = computed.features.feature_names(SPEC)
    asked = [({**ENTITIES, **changed}, None) for changed in CHANGES]
    plainly = computed.features.online_rows(names, asked)
    other = Stores(computed.settings).features
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(OnlineValues, "_plainly", lambda *_: None)
        assert other.online_rows(names, asked) == plainly
        patched.setattr(OnlineValues, "_as_feast_answers", None)
        with pytest.raises(TypeError):  # it was asked, then
            other.online_rows(names, asked)
        patched.undo()
        patched.setattr(OnlineValues, "_as_feast_answers", None)
        assert other.online_rows(names, asked) == plainly


YEAR, ENTITIES = timedelta(days=365), {name: field.example for name, field in SPEC.entities.items()}
CHANGES: list[dict[str, Any]] = [
    {}, {"carrier": "AA"}, {"tailnum": None}, {"tailnum": None, "dest": None}, {"origin": "nowhere"}, {"dest": "MIA"},
    {},
]  # fmt: skip
