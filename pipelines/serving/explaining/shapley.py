"""Shapley values of one answer: by enumeration where the inputs are few, else by permutations in antithetic pairs.

Each background row is a game of its own, which leads from that row's answer to the one that is explained. Its players
are the inputs in which the two rows differ. An input's contribution is the mean of what it is worth in these games.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Truths = NDArray[np.bool_]
Ask = Callable[[Truths, NDArray[np.intp]], Numbers]
"""Answers rows that are mixed of the question and a background row: which inputs are the question's (rows, inputs), and
which background row the others are from (rows). Out comes (rows, outputs)."""
FEWEST_PAIRS = 2
"""Of each background row: fewer say nothing of their error."""


@dataclass(frozen=True)
class Shares:
    """What each input contributed to each output: (inputs, outputs), which add up to answer less mean background.

    `errors` are the standard errors that come of drawing permutations, 0 where none were drawn. `background_errors`
    are those that come of the draw of the background rows; NaN for one row. `permutations` and `evaluations` count.
    """

    contributions: Numbers
    errors: Numbers
    background_errors: Numbers
    exact: bool
    permutations: int
    evaluations: int


@dataclass(frozen=True)
class _Game:
    """One background row's game: which inputs play, and the coalitions that are asked about: (coalitions, inputs)."""

    players: NDArray[np.intp]
    coalitions: Truths
    orders: NDArray[np.intp] | None = None


def shares(
    differs: Truths, answer: Numbers, background: Numbers, ask: Ask, evaluations: int, seed: int
) -> Shares:
    """How an answer (outputs) comes about from those to the background rows (rows, outputs).

    `differs` says in which inputs each background row differs from the question: (rows, inputs). About `evaluations`
    mixed rows are asked about, in one call; the same seed gives the same numbers.
    """
    games, exact = _games([np.flatnonzero(each) for each in differs], differs.shape[1], evaluations, seed)
    coalitions = np.concatenate([game.coalitions for game in games])
    rows = np.repeat(np.arange(len(games)), [len(game.coalitions) for game in games])
    said = ask(coalitions, rows) if len(rows) else np.empty((0, len(answer)))
    ends = np.cumsum([len(game.coalitions) for game in games])[:-1]
    samples = [
        _worth(game, told, answer, empty, differs.shape[1])
        for game, told, empty in zip(games, np.split(said, ends), background, strict=True)
    ]
    permutations = sum(len(game.orders) for game in games if game.orders is not None)
    return Shares(*_estimated(samples), exact, permutations, len(rows))


def fewest(inputs: int) -> int:
    """How many mixed rows a background row takes at least."""
    steps = FEWEST_PAIRS * 2 * max(1, inputs - 1)
    return steps if inputs > steps else min(1 << inputs, steps)


def _games(
    players: Sequence[NDArray[np.intp]], inputs: int, evaluations: int, seed: int
) -> tuple[list[_Game], bool]:
    """Every coalition where those are not too many, else the ways of so many pairs of permutations."""
    if sum(max(0, 2 ** len(each) - 2) for each in players) <= evaluations:
        return [_enumerated(each, inputs) for each in players], True
    steps = sum(2 * max(0, len(each) - 1) for each in players)  # not 0: else the coalitions were none
    pairs = max(FEWEST_PAIRS, evaluations // steps)
    draws = np.random.default_rng(seed)
    return [_walked(each, inputs, pairs, draws) for each in players], False


def _enumerated(players: NDArray[np.intp], inputs: int) -> _Game:
    """All coalitions but the empty and the whole one, whose answers are known."""
    numbers = np.arange(1, max(1, 2 ** len(players) - 1))
    coalitions = np.zeros((len(numbers), inputs), dtype=bool)
    coalitions[:, players] = numbers[:, None] >> np.arange(len(players)) & 1
    return _Game(players, coalitions)


def _walked(players: NDArray[np.intp], inputs: int, pairs: int, draws: np.random.Generator) -> _Game:
    """The coalitions that come about as the players join in a random order, and in the reverse of it."""
    if len(players) == 0:
        return _enumerated(players, inputs)
    forth = draws.permuted(np.tile(players, (pairs, 1)), axis=1)
    orders = np.concatenate([forth, forth[:, ::-1]])
    joined = np.full((len(orders), inputs), len(players))
    np.put_along_axis(joined, orders, np.arange(len(players))[None, :], axis=1)
    within = joined[:, None, :] < np.arange(1, len(players))[None, :, None]
    return _Game(players, within.reshape(-1, inputs), orders)


def _worth(game: _Game, said: Numbers, whole: Numbers, empty: Numbers, inputs: int) -> Numbers:
    """What each input is worth in a game, in each sample of it: (samples, inputs, outputs)."""
    if game.orders is None:
        return _weighed(game.players, np.vstack([empty, said, whole]), inputs)[None]
    ways, outputs = len(game.orders), len(whole)
    between = said.reshape(ways, len(game.players) - 1, outputs)
    ends = [np.broadcast_to(end, (ways, 1, outputs)) for end in (empty, whole)]
    gains = np.zeros((ways, inputs, outputs))
    gains[np.arange(ways)[:, None], game.orders] = np.diff(
        np.concatenate([ends[0], between, ends[1]], axis=1), axis=1
    )
    forth, back = np.split(gains, 2)
    return (forth + back) / 2


def _weighed(players: NDArray[np.intp], values: Numbers, inputs: int) -> Numbers:
    """Shapley's formula over all coalitions, whose place in `values` says by its bits who is in it."""
    many, found = len(players), np.zeros((inputs, values.shape[1]))
    numbers = np.arange(2**many)
    sizes = (numbers[:, None] >> np.arange(max(1, many)) & 1).sum(axis=1)
    weights = np.array([1 / (many * comb(many - 1, size)) for size in range(many)])
    for place, player in enumerate(players):
        without = numbers[(numbers >> place & 1) == 0]
        found[player] = weights[sizes[without]] @ (values[without | 1 << place] - values[without])
    return found


def _estimated(samples: Sequence[Numbers]) -> tuple[Numbers, Numbers, Numbers]:
    """Mean over the games, its standard error from the samples of each, and that from the draw of the games."""
    means = np.array([each.mean(axis=0) for each in samples])
    within = np.array(
        [each.var(axis=0, ddof=1) / len(each) if len(each) > 1 else 0 * each[0] for each in samples]
    )
    many = len(means)
    apart = means.std(axis=0, ddof=1) if many > 1 else np.full(means.shape[1:], np.nan)
    return means.mean(axis=0), np.sqrt(within.sum(axis=0)) / many, apart / np.sqrt(many)
