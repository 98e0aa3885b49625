"""Rules of the picture of a model's days: each version can be told from the others, however many there were."""

from datetime import UTC, date, datetime, timedelta

import pytest
from matplotlib.figure import Figure

from pipelines.monitoring.performance import Performance, Period
from pipelines.monitoring.performance_page import NAMED, _metric


def drawn(versions: int) -> tuple[list[str], list[str]]:
    """The texts above a picture of so many versions, of two days each, and those of its legend."""
    days = [
        ((date(2013, 4, 1) + timedelta(days=day)).isoformat(), 1 + day // 2) for day in range(2 * versions)
    ]
    periods = tuple(Period(day, n, 9, 9, 0, 0, 0, 0.4 + n / 100, 0.3, 0.5, 0.4, {}) for day, n in days)
    axes = Figure().subplots()
    _metric(axes, Performance("flight_delays", datetime(2014, 1, 1, tzinfo=UTC), "log_loss", periods))
    legend = axes.get_legend()
    assert legend is not None
    return [each.get_text() for each in axes.texts], [each.get_text() for each in legend.get_texts()]


@pytest.mark.parametrize("versions", [1, NAMED, NAMED + 1, 40])
def test_few_versions_are_named_and_many_numbered_where_they_begin(versions: int) -> None:
    above, legend = drawn(versions)
    if versions <= NAMED:
        assert above == []
        assert {f"version {n + 1}" for n in range(versions)} <= {*legend}
    else:
        assert above == [str(n + 1) for n in range(versions)]
        assert len(legend) == 2
