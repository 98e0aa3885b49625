"""Rules of the picture of a model's days: each version can be told from the others, however many there were."""

from datetime import date, timedelta
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from pipelines.monitoring.arms import CHAMPION
from pipelines.monitoring.performance.days import Period
from pipelines.monitoring.performance.pictures import NAMED, _metric


def drawn(versions: int) -> tuple[list[str], list[str]]:
    """The texts above a picture of so many versions, of two days each, and those of its legend."""
    days = [
        ((date(2013, 4, 1) + timedelta(days=day)).isoformat(), 1 + day // 2) for day in range(2 * versions)
    ]
    periods = tuple(
        Period(
            day=day, version=n, arm=CHAMPION, answers=9, known=9, pending=0, never=0, degraded=0,
            metric=0.4 + n / 100, low=0.3, high=0.5, expected=0.4, claimed=0.4, basis="", metrics={},
        )
        for day, n in days
    )  # fmt: skip
    axes = Figure().subplots()
    _metric(axes, SimpleNamespace(periods=periods, metric="log_loss"))  # type: ignore[arg-type]
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
