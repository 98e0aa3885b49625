"""A ColumnTransformer of words and numbers, without building a frame of each part."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

REMEMBERED = 10_000
"""Values of one column whose codes are kept; who asks about more of them has them looked up each time."""
NUMBERS = "fiub"
"""Kinds of columns that a float64 holds as scikit-learn would cast them."""


class Unknown(Exception):
    """There is no shorter way through a step."""


class Codes:
    """What an OrdinalEncoder makes of a column's values: it is asked once about each, and its answer is kept."""

    def __init__(self, encoder: Any, columns: Sequence[Any]) -> None:
        self._encoder, self._columns = encoder, list(columns)
        self._known: list[dict[Hashable, float]] = [{} for _ in self._columns]

    def into(self, out: "NDArray[np.float64]", rows: Any) -> None:
        """Fills `out`, rows x columns, for a frame or an array of these columns."""
        for place, (column, known) in enumerate(zip(self._columns, self._known, strict=True)):
            values = (rows[column] if isinstance(column, str) else rows[:, column]).tolist()
            for row, value in enumerate(values):
                key = (type(value), value if value == value else None)
                code = known.get(key)
                out[row, place] = self._asked(rows, row, place, key) if code is None else code

    def _asked(self, rows: Any, row: int, place: int, key: Hashable) -> float:
        """The encoder's own answer to a row, of which one column is new."""
        some = rows.iloc[[row]][self._columns] if hasattr(rows, "iloc") else rows[[row]][:, self._columns]
        code = float(self._encoder.transform(some)[0, place])
        if len(self._known[place]) < REMEMBERED:
            self._known[place][key] = code
        return code


class Columns:
    """A fitted ColumnTransformer that codes some columns and passes others; Unknown if it does anything else.

    `transform` takes a frame, or an array if it was fitted on one, and gives rows x columns of float64.
    """

    def __init__(self, transformer: Any) -> None:
        self._parts: list[tuple[slice, list[Any], Codes | None]] = []
        self.width = 0
        for _, step, columns in transformer.transformers_:
            places = _places(columns, transformer)
            if not places or step == "drop":
                continue
            codes = Codes(step, places) if _codes(step) else None
            if codes is None and not _passes(step):
                raise Unknown
            part = slice(self.width, self.width + len(places))
            self.width = part.stop
            self._parts.append((part, places, codes))

    def transform(self, rows: "pd.DataFrame | NDArray[Any]") -> "NDArray[np.float64]":
        import numpy as np

        out = np.empty((len(rows), self.width))
        for part, places, codes in self._parts:
            if codes is not None:
                codes.into(out[:, part], rows)
            else:
                out[:, part] = numbers(rows, places)
        return out


def _places(columns: Any, transformer: Any) -> list[Any]:
    """Names or numbers of a part's columns."""
    import numpy as np

    found = np.asarray(columns)
    if found.dtype == bool:
        return [int(place) for place in np.flatnonzero(found)]
    if all(isinstance(each, str) for each in columns):
        return list(columns)
    if hasattr(transformer, "feature_names_in_"):
        raise Unknown  # numbers that stand for the columns of a frame
    return [int(each) for each in columns]


def _codes(step: Any) -> bool:
    """An encoder whose answer about a column is no other column's concern."""
    import numpy as np
    from sklearn.preprocessing import OrdinalEncoder

    return type(step) is OrdinalEncoder and np.dtype(step.dtype) == np.float64


def _passes(step: Any) -> bool:
    """A step that lets numbers through as they are."""
    from functools import partial

    from sklearn.preprocessing import FunctionTransformer
    from sklearn.utils import check_array

    if type(step) is not FunctionTransformer or step.kw_args:
        return bool(step == "passthrough")
    return step.func is None or (isinstance(step.func, partial) and step.func.func is check_array)


def numbers(rows: Any, places: list[Any]) -> Any:
    """Some columns as float64, if that is what they are to scikit-learn too."""
    if not hasattr(rows, "iloc"):
        return rows[:, places]
    some = rows[places]
    if any(kind.kind not in NUMBERS for kind in some.dtypes):
        raise Unknown
    return some.to_numpy("float64")
