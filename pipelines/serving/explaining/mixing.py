"""A question's row mixed with background rows, typed as in training, and asked of the model some at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.contracts import EvergreenError
from pipelines.serving.causes import passed
from pipelines.serving.explaining.shapley import Numbers, Shares, Truths, fewest, shares

Answer = Callable[[pd.DataFrame], Sequence[float | list[float]]]
"""What a model answers the rows of a frame with."""
AT_ONCE = 1024
"""Rows of one call: enough that its fixed cost counts little, few enough that who waits for it waits little."""
CLOSE = 1e-6
"""How far the answer among other rows may be from the one that was given: more than 32-bit floats differ."""


class Unexplained(EvergreenError):
    """The model's answer cannot be explained; the message says why, and names no value."""


@dataclass(frozen=True)
class Explained:
    """How an answer came about: of each input its share, from the mean answer (outputs) of `rows` background rows."""

    inputs: tuple[str, ...]
    base: Numbers
    shares: Shares
    rows: int


def explained(
    row: pd.DataFrame,
    background: pd.DataFrame,
    answer: Numbers,
    model: Answer,
    evaluations: int,
    seed: int,
    go_on: Callable[[], None] = lambda: None,
) -> Explained:
    """An answer (outputs) that was given to a row, explained; Unexplained if the model does not give it again.

    Rows of the background are left out where `evaluations` are too few for all. `go_on` is called between two calls of
    the model, and may raise.
    """
    lacking = sorted({*map(str, row.columns)} - {*map(str, background.columns)})
    if lacking or len(background) < 2:
        raise Unexplained(
            f"the version's background rows lack {', '.join(lacking) or 'rows'}; train it again"
        )
    many = max(2, min(len(background), evaluations // fewest(row.shape[1])))
    both = pd.DataFrame({name: _joined(row[name], background[name].head(many)) for name in row})
    mixed = _Mixed(both, model, go_on)
    plain = mixed.of(both.index.to_numpy())
    if np.abs(plain[0] - answer).max() > CLOSE:
        raise Unexplained("the model does not give this answer again to these inputs, so nothing explains it")
    found = shares(_differs(both), answer, plain[1:], mixed.asked, evaluations, seed)
    return Explained(tuple(map(str, both.columns)), plain[1:].mean(axis=0), found, len(both) - 1)


@dataclass(frozen=True)
class _Mixed:
    """The question's row, at place 0, and the background rows, to be mixed."""

    both: pd.DataFrame
    model: Answer
    go_on: Callable[[], None]

    def asked(self, own: Truths, rows: NDArray[np.intp]) -> Numbers:
        """The answers to rows whose inputs are the question's where `own`, else those of a background row."""
        parts = range(0, len(rows), AT_ONCE)
        return np.concatenate(
            [
                self.of(np.where(own[start : start + AT_ONCE], 0, 1 + rows[start : start + AT_ONCE, None]))
                for start in parts
            ]
        )

    def of(self, places: NDArray[np.intp]) -> Numbers:
        """The answers to rows whose values stand at these places: (rows, inputs), or (rows) for whole rows."""
        self.go_on()
        wide = places if places.ndim == 2 else np.repeat(places[:, None], self.both.shape[1], axis=1)
        frame = pd.DataFrame(
            {name: self.both[name].array.take(wide[:, at]) for at, name in enumerate(self.both)}
        )
        try:
            said = np.asarray(self.model(frame), dtype="float64")
        except Exception as error:
            raise Unexplained(
                f"the model fails on this row mixed with others that it was trained on ({passed(error)}), so its "
                "answer cannot be explained; mend the Pipeline so that it takes any values of its inputs together"
            ) from error
        return said.reshape(len(frame), -1)


def _joined(mine: "pd.Series[Any]", theirs: "pd.Series[Any]") -> "pd.Series[Any]":
    """One column of both, in a type that holds both as training would; a time that was logged as text is one again."""
    value: Any = mine.iloc[0]
    places = range(-1, len(theirs))
    theirs = theirs.set_axis(range(len(theirs)))
    if theirs.dtype == object:  # None and NaN are two values to an encoder
        return pd.Series([value, *theirs], dtype=object)
    if pd.isna(value):
        return theirs.reindex(places).reset_index(drop=True)
    if pd.api.types.is_datetime64_any_dtype(theirs.dtype):
        return pd.concat([pd.Series([pd.Timestamp(value)]).astype(theirs.dtype), theirs], ignore_index=True)
    if theirs.isna().all():
        return mine.set_axis([-1]).reindex(places).reset_index(drop=True)
    return pd.concat([mine, theirs], ignore_index=True)


def _differs(both: pd.DataFrame) -> Truths:
    """In which inputs each background row differs from the question; two missing values are equal."""
    columns = []
    for name in both:
        column, value = both[name].iloc[1:], both[name].iloc[0]
        columns.append(column.notna() if pd.isna(value) else (column != value) | column.isna())
    return np.column_stack([each.to_numpy(dtype=bool) for each in columns])
