"""Rules of Shapley values: what they add up to, what they are of plain functions, and how sure their estimates are."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.serving.explaining.shapley import Shares, shares

MANY, NEVER = 10**6, 0


def game(function: Any, question: Any, background: Any, evaluations: int = MANY, seed: int = 0) -> Shares:
    """The shares of a function (rows, inputs) -> (rows, outputs) at a question."""

    def ask(own: Any, rows: Any) -> Any:
        return function(np.where(own, question, background[rows]))

    whole = function(question[None])[0]
    return shares(background != question, whole, function(background), ask, evaluations, seed)


def by_definition(function: Any, question: Any, background: Any) -> Any:
    """The oracle: what each input adds, one row at a time, over every order in which the inputs may come."""
    many, found = len(question), []
    for other in background:
        for order in permutations(range(many)):
            row, gains = other.copy(), np.zeros((many, function(other[None]).shape[1]))
            for place in order:
                before = function(row[None])[0]
                row[place] = question[place]
                gains[place] = function(row[None])[0] - before
            found.append(gains)
    return np.mean(found, axis=0)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    """A function with interactions and two outputs, a question, and background rows that share values with it."""
    many = draw(st.integers(1, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    first, second = random.normal(size=(2, many, many))
    question, background = random.integers(0, 3, many) * 1.0, random.integers(0, 3, (4, many)) * 1.0

    def function(rows: Any) -> Any:
        curved = np.tanh(np.einsum("ri,ij,rj->r", rows, first, rows))
        return np.column_stack([curved, np.abs(rows @ second).sum(axis=1)])

    return function, question, background


@hypothesis_settings(max_examples=25)
@given(worlds())
def test_enumeration_gives_the_values_of_the_definition(world: tuple[Any, Any, Any]) -> None:
    found = game(*world)
    assert found.exact
    assert found.permutations == 0
    assert np.allclose(found.contributions, by_definition(*world), rtol=0, atol=1e-9)
    assert not found.errors.any()


@given(worlds(), st.integers(0, 100))
def test_contributions_add_up_to_the_answer_however_they_are_found(
    world: tuple[Any, Any, Any], evaluations: int
) -> None:
    function, question, background = world
    found = game(*world, evaluations)
    rise = function(question[None])[0] - function(background).mean(axis=0)
    assert np.allclose(found.contributions.sum(axis=0), rise, rtol=0, atol=1e-12)


@given(worlds(), st.integers(0, 1000))
def test_an_input_that_no_background_row_differs_in_contributes_nothing(world: Any, seed: int) -> None:
    function, question, background = world
    background[:, 0] = question[0]
    for evaluations in (MANY, NEVER):
        assert not game(function, question, background, evaluations, seed).contributions[0].any()


def test_an_input_that_the_function_does_not_use_contributes_nothing() -> None:
    found = game(lambda rows: rows[:, :2].prod(axis=1)[:, None], np.arange(1.0, 11), np.zeros((3, 10)), NEVER)
    assert not found.exact
    assert np.array_equal(found.contributions[:, 0], [1, 1, *[0] * 8])


def test_inputs_that_do_the_same_contribute_the_same() -> None:
    question = np.ones(6)
    found = game(lambda rows: np.exp(rows.sum(axis=1))[:, None], question, np.zeros((2, 6)))
    assert found.exact
    assert np.ptp(found.contributions) < 1e-9


@pytest.mark.parametrize("evaluations", [MANY, NEVER])
def test_a_linear_function_gives_coefficient_times_distance_from_the_mean(evaluations: int) -> None:
    random = np.random.default_rng(1)
    weights, question, background = random.normal(size=9), random.normal(size=9), random.normal(size=(8, 9))
    found = game(lambda rows: (rows @ weights)[:, None], question, background, evaluations)
    wanted = weights * (question - background.mean(axis=0))
    assert np.allclose(found.contributions[:, 0], wanted, rtol=0, atol=1e-9)
    assert (found.errors < 1e-9).all()


def test_estimates_lie_about_the_exact_values_as_far_as_their_standard_errors_say() -> None:
    random, off = np.random.default_rng(2), []
    for seed in range(20):
        weights = random.normal(size=(8, 3))
        question, background = random.normal(size=8), random.normal(size=(10, 8))

        def function(rows: Any, weights: Any = weights) -> Any:
            return np.tanh(rows @ weights).prod(axis=1)[:, None]

        exact = game(function, question, background)
        told = game(function, question, background, 1000, seed)
        assert exact.exact
        assert not told.exact
        assert (told.errors > 0).all()
        off += [*((told.contributions - exact.contributions) / told.errors).ravel()]
    assert len(off) == 160
    assert 0.8 < np.std(off) < 1.25
    assert np.mean(np.abs(off) > 3) < 0.03


def test_more_evaluations_give_smaller_errors_and_no_more_than_were_asked_for() -> None:
    random = np.random.default_rng(3)
    weights, question, background = (
        random.normal(size=(12, 2)), random.normal(size=12), random.normal(size=(10, 12)),
    )  # fmt: skip

    def function(rows: Any) -> Any:
        return np.tanh(rows @ weights)

    few, many = (game(function, question, background, evaluations) for evaluations in (1_000, 16_000))
    assert few.evaluations <= 1_000
    assert many.evaluations <= 16_000
    assert many.errors.mean() < few.errors.mean() / 3


@given(worlds(), st.integers(0, 2**64))
def test_the_same_seed_gives_the_same_numbers(world: tuple[Any, Any, Any], seed: int) -> None:
    once, again = (game(*world, NEVER, seed) for _ in range(2))
    assert np.array_equal(once.contributions, again.contributions)
    assert np.array_equal(once.errors, again.errors)
