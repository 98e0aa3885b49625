"""Models as ONNX, for those that run them without scikit-learn; with `make onnx`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipelines.contracts import EvergreenError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

ONNX_FILE = "model.onnx"
TREES, TRACKS = "add_tree_to_attribute_pairs_hist_gradient_boosting", "nodes_missing_value_tracks_true"
NO_CATEGORIES = (
    "HistGradientBoosting has no ONNX form here where it splits by categories (categorical_features): leave `onnx`"
    " out of spec.yaml, or put a OneHotEncoder before it"
)
MADE_OF_OTHERS = {"Pipeline", "ColumnTransformer", "FeatureUnion"}
SAMPLE = 1000
"""How many rows tell which of two forms is nearer; the gate compares every held-out row."""


def exported(model: Any, inputs: "pd.DataFrame") -> bytes:
    """A fitted Pipeline as ONNX, in float64 or float32, whichever answers more nearly as the Pipeline does.

    EvergreenError names what has no ONNX form. The file holds numbers and operators, never code.
    """
    sample = inputs.head(SAMPLE)
    wanted = _answers(model, sample)
    made, wrong = [], ""
    for exact in (True, False):
        try:
            content = _converted(model, inputs, exact)
            made.append((float(abs(OnnxModel(content).answers(sample) - wanted).max()), content))
        except EvergreenError:
            raise
        except Exception as error:  # its converters raise whatever they stumble over
            wrong = wrong or f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    if not made:
        raise EvergreenError(_without_form(model, wrong))
    return min(made)[1]


def _converted(model: Any, inputs: "pd.DataFrame", exact: bool) -> bytes:
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    convert = _needed("skl2onnx").convert_sklearn
    with _trees_of_histograms():
        made = convert(model, initial_types=list(_types(inputs, exact)), options=options)
    return bytes(made.SerializeToString())


@contextmanager
def _trees_of_histograms() -> Iterator[None]:
    """Meanwhile skl2onnx says in whole numbers where HistGradientBoosting's missing values go: it says it in booleans,
    which onnx refuses. A split by categories, which it would write as one by size, is an EvergreenError."""
    there = _needed("skl2onnx.operator_converters.random_forest")
    add = getattr(there, TREES)

    def added(pairs: dict[str, list[Any]], is_classifier: bool, tree: Any, *more: Any, **named: Any) -> None:
        if tree.nodes["is_categorical"].any():
            raise EvergreenError(NO_CATEGORIES)
        before = len(pairs[TRACKS])
        add(pairs, is_classifier, tree, *more, **named)
        pairs[TRACKS][before:] = map(int, pairs[TRACKS][before:])

    setattr(there, TREES, added)
    try:
        yield
    finally:
        setattr(there, TREES, add)


def _answers(model: Any, rows: "pd.DataFrame") -> Any:
    if not hasattr(model, "predict_proba"):
        return model.predict(rows)
    said = model.predict_proba(rows)
    return said if said.shape[1] > 2 else said[:, 1]


def _without_form(model: Any, wrong: str) -> str:
    steps = [type(step) for _, step in getattr(model, "steps", [("", model)])]
    known = {*_needed("skl2onnx._supported_operators").sklearn_operator_name_map}
    foreign = [each.__name__ for each in steps if each not in known and each.__name__ not in MADE_OF_OTHERS]
    wrong = f"{' and '.join(foreign)}: skl2onnx knows no such step" if foreign else wrong
    parts = " > ".join(each.__name__ for each in steps)
    return (
        f"{parts} has no ONNX form here ({wrong}); leave `onnx` out of spec.yaml, or build the Pipeline of what "
        "docs/how-to/export-to-onnx.md lists, on columns without times"
    )


class OnnxModel:
    """An ONNX file that answers as the Pipeline it was made from."""

    def __init__(self, content: bytes) -> None:
        runtime = _needed("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.feature_names_in_ = [each.name for each in self._session.get_inputs()]

    def answers(self, rows: "pd.DataFrame") -> "NDArray[Any]":
        """One number per row: P(label = 1), or a regression's value; of more than two classes the probability of each.

        Their order is the model's, which is the spec's: a candidate has learned from rows of every class.
        """
        import numpy as np

        kinds = {each.name: each.type for each in self._session.get_inputs()}
        found = self._session.run(None, {name: _column(rows[name], kind) for name, kind in kinds.items()})
        if len(found) > 1 and found[1].shape[1] > 2:
            return np.asarray(found[1], dtype="float64")
        numbers = found[1][:, 1] if len(found) > 1 else found[0]
        return np.asarray(numbers, dtype="float64").ravel()


def _column(values: Any, kind: str) -> "NDArray[Any]":
    """A column as a session takes it: n by 1, missing words as empty ones."""
    if kind == "tensor(string)":
        text = values.astype("object").where(values.notna(), "")
        found: NDArray[Any] = text.to_numpy().reshape(-1, 1)
        return found
    numbers: NDArray[Any] = values.to_numpy("float64" if kind == "tensor(double)" else "float32").reshape(
        -1, 1
    )
    return numbers


def _types(inputs: "pd.DataFrame", exact: bool) -> Iterator[tuple[str, Any]]:
    """The ONNX type of each column; times have none."""
    from pandas.api import types

    kinds = _needed("skl2onnx.common.data_types")
    number = kinds.DoubleTensorType if exact else kinds.FloatTensorType
    for name in inputs:
        if types.is_datetime64_any_dtype(inputs[name]):
            continue
        kind = number if types.is_numeric_dtype(inputs[name]) else kinds.StringTensorType
        yield str(name), kind([None, 1])


def _needed(module: str) -> Any:
    import importlib

    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EvergreenError(
            f"ONNX needs {module.split('.')[0]}, which is not installed; run `make onnx`"
        ) from error
