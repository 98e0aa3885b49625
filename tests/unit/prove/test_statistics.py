"""Rules of the proof that the gate seldom errs: it holds for the gate as it is, and breaks with a broken one."""

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.contracts import Decision
from pipelines.gate import intervals
from pipelines.prove import statistics
from pipelines.prove.statistics import MORE, NOISE, Rate
from pipelines.prove.statistics.pairs import World, case, drawn, worth

WORLD = World("log_loss", 2000, 1, NOISE, NOISE)


@pytest.fixture(autouse=True)
def _smaller_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.prove.statistics.pairs.LARGE", 200_000)
    worth.cache_clear()


def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interval as if hours were thirty times as many."""
    honest = intervals.standard_error
    monkeypatch.setattr(intervals, "standard_error", lambda pulls: honest(pulls) / 30**0.5)


def test_equal_pairs_are_seldom_promoted_and_worse_ones_never() -> None:
    """1% and 0.05% are aimed at: 400 tries exceed these counts in one case of 700, and of 1,000."""
    better, not_worse = (statistics.comparison("log_loss", rule) for rule in ("better", "not_worse"))
    worse = replace(WORLD, candidate=MORE)
    assert statistics.passed(WORLD, better, 400).happened <= 11
    assert statistics.passed(worse, better, 400).happened <= 2
    assert statistics.passed(worse, not_worse, 400).happened <= 2


def test_an_interval_that_is_too_narrow_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)
    for line in (statistics.equal, statistics.cleared):
        breach = line(WORLD, 200)[1]
        assert breach is not None
        assert "promised at most" in breach


def test_the_command_ends_with_1_when_the_gate_errs(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)
    monkeypatch.setattr(statistics, "lines", lambda pairs, world: [lambda: statistics.equal(world, 100)])
    done = CliRunner().invoke(app, ["prove", "statistics", "--rows", "4000"])
    assert done.exit_code == 1
    assert "DOES NOT HOLD" in done.output


def test_the_command_ends_with_0_when_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "lines", lambda pairs, world: [lambda: statistics.equal(world, 200)])
    done = CliRunner().invoke(app, ["prove", "statistics", "--rows", "4000"])
    assert done.exit_code == 0, done.output
    assert "Holds" in done.output


def test_so_few_pairs_that_nothing_could_be_shown_are_refused() -> None:
    assert CliRunner().invoke(app, ["prove", "statistics", "--pairs", "100"]).exit_code == 2


def test_power_that_is_promised_and_not_had_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_rows_for", lambda *_: 600)
    breach = statistics.powerful(WORLD, "better", 0.9, 100)[1]
    assert breach is not None
    assert "should show it in 90%" in breach


def test_pairs_are_two_models_and_the_same_each_time() -> None:
    one, again, other = drawn(WORLD, 0), drawn(WORLD, 0), drawn(WORLD, 1)
    assert (one.candidate == again.candidate).all()
    assert (one.candidate != one.champion).mean() > 0.99
    assert (one.candidate != other.candidate).mean() > 0.99
    assert 0.1 < one.labels.mean() < 0.5


@pytest.mark.parametrize("metric", ["log_loss", *statistics.OTHERS])
def test_more_noise_is_worse_by_what_the_large_sample_says(metric: str) -> None:
    """Over many pairs the mean improvement is the margin, and of equal ones nothing."""
    from numpy import mean, std

    spec, worse = statistics._spec(), replace(WORLD, metric=metric, candidate=1.2)
    rule = statistics.comparison(metric, "better")
    for world, wanted in ((replace(worse, candidate=NOISE), 0.0), (worse, -worth(metric, NOISE, 1.2))):
        found = [statistics_value(rule, spec, world, n) for n in range(150)]
        assert mean(found) == pytest.approx(wanted, abs=4 * std(found) / 150**0.5)


def statistics_value(rule, spec, world: World, number: int) -> float:
    from pipelines.gate.rules.comparisons import paired

    return paired("champion", rule, case(spec, drawn(world, number))).value


def test_the_whole_gate_asks_champion_guard_and_slices() -> None:
    rules = statistics.judged(statistics.gate(WORLD), replace(WORLD, rows=4000), 0)
    names = {rule.name for rule in rules}
    assert {"log_loss better than the champion's", "roc_auc not worse than the champion's"} <= names
    assert {"slice origin = EWR", "slice distance part 1 of 4", "worst slice found"} <= names
    assert all(rule.decision in Decision for rule in rules)


def test_a_rate_says_what_so_many_tries_leave_possible() -> None:
    assert Rate(0, 2000).possible == pytest.approx(0.0015, abs=1e-4)
    assert Rate(50, 2000).share == 0.025 < Rate(50, 2000).possible
    assert MORE > NOISE
