"""What an estimator.py must have, looked at before anything is joined or fitted.

`build(parameters)` gives an unfitted pipeline, `baseline()` another that it must beat. Both are fitted on one frame of
entities, request fields and features; the model's first step remembers its columns in `feature_names_in_`.
"""

import ast
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError

if TYPE_CHECKING:
    import pandas as pd

NEEDED = {"build": ("parameters",), "baseline": ()}


def check(spec: ModelSpec) -> str:
    """The estimator's file; EvergreenError names file, line and remedy if it does not keep its contract."""
    path = spec.folder / "estimator.py"
    if not path.is_file():
        raise EvergreenError(f"{path} is missing; write build(parameters) and baseline() in it")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise EvergreenError(f"{path}:{error.lineno}: {error.msg}; mend it") from error
    found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name, taken in NEEDED.items():
        _fits(path, name, taken, found.get(name))
    return str(path)


def _fits(path: Path, name: str, taken: tuple[str, ...], function: ast.FunctionDef | None) -> None:
    shown = f"{name}({', '.join(taken)})"
    if function is None:
        raise EvergreenError(f"{path}:1: there is no function {shown}; add it: it gives an unfitted pipeline")
    given = function.args
    least = len(given.posonlyargs) + len(given.args) - len(given.defaults)
    most = float("inf") if given.vararg else len(given.posonlyargs) + len(given.args)
    if not least <= len(taken) <= most or any(default is None for default in given.kw_defaults):
        raise EvergreenError(
            f"{path}:{function.lineno}: {name} must take what {shown} gives; mend its parameters"
        )


def fitted(spec: ModelSpec, model: Any, inputs: "pd.DataFrame", labels: "pd.Series[Any]") -> Any:
    """The pipeline, fitted; EvergreenError says what it could not take, and which columns have no value at all."""
    try:
        return model.fit(inputs, labels)
    except (ValueError, TypeError, KeyError) as error:
        empty = [str(name) for name in inputs if inputs[name].isna().all()]
        without = (
            f"; no row has a value of {', '.join(empty)}: see that what they come from lands" if empty else ""
        )
        raise EvergreenError(
            f"{_where(spec, error)}: the model cannot be fitted to {len(inputs):,} rows:"
            f" {type(error).__name__}: {error}{without}; mend the pipeline, or the features in spec.yaml"
        ) from error


def _where(spec: ModelSpec, error: BaseException) -> str:
    """estimator.py, with the line of it that failed, if it was one of its own."""
    path = str(spec.folder / "estimator.py")
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"{path}:{lines[-1]}" if lines else path


def says_inputs(spec: ModelSpec, fitted: object) -> None:
    """EvergreenError if a fitted model does not say which columns it takes, so that nobody could ask it."""
    if getattr(fitted, "feature_names_in_", None) is not None:
        return
    path = spec.folder / "estimator.py"
    line = next(
        (n for n, text in enumerate(path.read_text().splitlines(), 1) if text.startswith("def build")), 1
    )
    raise EvergreenError(
        f"{path}:{line}: the fitted model does not say which columns it takes; let the first step of build(parameters)"
        " set `self.feature_names_in_ = np.asarray(rows.columns, dtype=object)` when it is fitted, or be scikit-learn's"
    )
