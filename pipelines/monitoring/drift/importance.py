"""How much a model's answers hang on each input: a drift of one that it hardly reads cannot hurt."""

from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.training.answers import answers, inputs_of

if TYPE_CHECKING:
    import pandas as pd

ASKED = 1000
"""Rows that are asked again with one column shuffled."""


def importance(spec: ModelSpec, model: Any, rows: "pd.DataFrame") -> dict[str, float]:
    """By how much the answers change on average when an input is shuffled among the rows, as shares that sum to 1."""
    import numpy as np

    some = rows.sample(min(ASKED, len(rows)), random_state=0)
    before, order = answers(model, some, spec.outputs), np.random.default_rng(0).permutation(len(some))
    found = {}
    for name in map(str, inputs_of(some, model)):
        shuffled = some.assign(**{name: some[name].array[order]})
        found[name] = float(np.abs(answers(model, shuffled, spec.outputs) - before).mean())
    whole = sum(found.values())
    return {name: each / whole for name, each in found.items()} if whole > 0 else {}
