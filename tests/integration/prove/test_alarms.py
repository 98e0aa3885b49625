"""The year of alarms, on made-up flights of four weeks: each alarm once, with its day, and a picture."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.prove.alarms import months
from pipelines.prove.alarms.days import Looked, looked
from pipelines.prove.alarms.picture import drawn
from pipelines.stores import Stores
from tests.retrainings import copied, crowned
from tests.training_sets import AS_OF, frame, spec

WEEKS = timedelta(days=28)


@pytest.fixture
def stores(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return copied(crowned(tmp_path_factory), tmp_path)


def seen(stores: Stores, far: float, every: bool = False) -> Looked:
    """Four weeks after the training, of which the last two have longer flights by so many miles, and with `every` no
    value in any other input."""
    rows = frame(12_000, 3, 2.0)
    for name in rows.select_dtypes("datetimetz"):
        rows[name] = rows[name] + WEEKS
    late = rows["event_timestamp"] > pd.Timestamp(AS_OF) + WEEKS / 2
    rows.loc[late, "distance"] += int(far)
    if every:
        others = ["carrier", "origin", "dest", "tailnum", "origin_congestion__mean_departure_delay_1h"]
        rows.loc[late, [*others, "origin_weather__visib"]] = None
    rows["said"] = np.full(len(rows), 0.3)
    return looked(spec(), rows.sort_values("event_timestamp"), AS_OF, AS_OF + WEEKS, stores, lambda _: None)


def test_an_alarm_begins_once_on_the_day_that_shows_it_and_is_drawn(stores: Stores, tmp_path: Path) -> None:
    found = seen(stores, 1500)
    begun = [(each.finding.column, each.finding.family) for each in found.alarms]
    assert begun.count(("distance", "input")) == 1
    day = next(each.day for each in found.alarms if each.finding.column == "distance")
    assert timedelta(0) <= day - (AS_OF + WEEKS / 2).date() <= timedelta(days=5)
    assert found.days[-1].share > found.days[0].share == 0
    assert sum(each.rows for each in found.days) == pytest.approx(12_000, rel=0.05)
    (april, *_) = [row for row in months(found) if row["month"] == "April"]
    assert april["alarms"] == len(found.alarms)
    assert "distance" in april["largest"]
    assert drawn(found, tmp_path / "alarms.png").stat().st_size > 10_000


def test_where_every_input_that_is_looked_at_moved_the_share_is_whole(stores: Stores) -> None:
    """Times, of which the answers hang on some too, are not looked at and count in no share."""
    found = seen(stores, 1500, every=True)
    assert found.days[-1].share == pytest.approx(1.0)
    assert all(0 <= each.share <= 1 + 1e-9 for each in found.days)


def test_where_nothing_changes_no_alarm_begins(stores: Stores) -> None:
    found = seen(stores, 0)
    assert len(found.days) == 28
    assert found.alarms == []
