"""Samples for people agree with all rows, more nearly than chance, and are the same each time."""

import numpy as np
import pandas as pd
import pytest

from pipelines.monitoring.samples import _candidates, _coded, _distances, _order, sample

MANY = 60_000


def rows(seed: int = 0, many: int = MANY) -> pd.DataFrame:
    """Four weeks of which the labels, the levels and the numbers differ by day."""
    draw = np.random.default_rng(seed)
    day = np.sort(draw.integers(0, 28, many))
    return pd.DataFrame(
        {
            "event_timestamp": pd.Timestamp("2013-01-01", tz="UTC") + pd.to_timedelta(day, unit="D"),
            "label": (draw.random(many) < 0.1 + day / 100).astype(int),
            "number": np.where(draw.random(many) < 0.03, np.nan, draw.normal(size=many) + day / 7),
            "count": pd.Series(draw.poisson(3, many)).astype("Int64").mask(draw.random(many) < 0.2),
            "level": np.where(draw.random(many) < 0.004, "rare", draw.choice(["a", "b", "c"], many)),
            "tail": draw.choice([f"N{i}" for i in range(4000)], many),
            "yes": draw.random(many) < 0.5,
        },
        index=draw.permutation(many),
    )


def test_a_sample_is_nearer_to_all_rows_than_random_draws_are_on_average() -> None:
    data = rows()
    draw = np.random.default_rng(1)
    by_chance = np.asarray([draw.choice(len(data), 2000, replace=False) for _ in range(40)])
    apart = np.asarray([_distances(kind, codes, bins, by_chance) for _, kind, codes, bins in _coded(data)])
    found = sample(data, 2000)
    assert 0 < found.apart < apart.max(axis=0).mean()
    assert found.apart <= np.quantile(apart.max(axis=0), 0.1)


def test_what_is_said_of_the_distance_is_so_and_of_the_column_that_is_farthest() -> None:
    data = rows()
    found = sample(data, 2000)
    assert len(found.rows) == len(set(found.rows.index)) == 2000
    places = data.index.get_indexer(found.rows.index)
    own = {n: _distances(kind, codes, bins, places[None])[0] for n, kind, codes, bins in _coded(data)}
    assert max(own, key=own.__getitem__) == found.column
    assert max(own.values()) == pytest.approx(found.apart)
    assert found.column in found.told("at training")


def test_days_and_labels_have_the_shares_that_they_have_among_all_rows() -> None:
    data = rows()
    found = sample(data, 2000).rows
    for by in (["event_timestamp"], ["label"], ["event_timestamp", "label"]):
        whole, drawn = (each.groupby(by).size() / len(each) for each in (data, found))
        assert (whole - drawn.reindex(whole.index, fill_value=0)).abs().max() <= 2 / 2000


def test_rare_levels_and_what_is_missing_keep_their_shares() -> None:
    data = rows()
    found = sample(data, 5000).rows
    assert (found["level"] == "rare").mean() == pytest.approx((data["level"] == "rare").mean(), abs=0.003)
    assert (found["level"] == "rare").any()
    for name in ("number", "count"):
        assert found[name].isna().mean() == pytest.approx(data[name].isna().mean(), abs=0.015)


def test_the_same_rows_are_drawn_each_time() -> None:
    first, again = (sample(rows(), 1000) for _ in range(2))
    pd.testing.assert_frame_equal(first.rows, again.rows)
    assert (first.apart, first.column) == (again.apart, again.column)


@pytest.mark.parametrize("many", [0, 1, 999, 1000])
def test_no_more_rows_than_may_be_drawn_are_all_of_them(many: int) -> None:
    data = rows(many=max(many, 1)).head(many)
    found = sample(data, 1000)
    pd.testing.assert_frame_equal(found.rows, data)
    assert (found.apart, found.told("now")) == (0.0, f"all {many:,} rows now")


AWKWARD = {
    "lists": [[1], [2]] * 3000,
    "missing": [None] * 6000,
    "one value": [1.0] * 6000,
    "endless": [np.inf, -np.inf, 1.0] * 2000,
    "mixed": [1, "a", None] * 2000,
    "category": pd.Series(["a", None] * 3000, dtype="category"),
    "time": pd.date_range("2013-01-01", periods=6000, tz="UTC"),
    "span": pd.timedelta_range("1h", periods=6000),
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_a_column_of_any_kind_does_not_stop_the_draw(kind: str) -> None:
    data = rows(many=6000).reset_index(drop=True).assign(x=pd.Series(AWKWARD[kind]))
    assert len(sample(data, 500).rows) == 500
    assert len(sample(data[["x"]], 500).rows) == 500


def test_labels_that_are_numbers_or_missing_are_strata_too() -> None:
    data = rows(many=6000)
    data["label"] = np.where(np.arange(6000) % 10 == 0, np.nan, np.random.default_rng(0).normal(size=6000))
    order = _order(data)
    assert sorted(order) == list(range(6000))
    assert _candidates(order, 600, 3).shape == (3, 600)
    assert sample(data, 600).rows["label"].isna().mean() == pytest.approx(0.1, abs=0.02)
