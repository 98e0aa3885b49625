#!/usr/bin/env bash
# skl2onnx 1.20 hands onnx 1.23 booleans where HistGradientBoosting's missing values go ("Expected an int, got a boolean"),
# so that it converts no such model; with whole numbers in their place it does, and writes a split by categories as one by
# size, without a word.  PYTHON is an interpreter with skl2onnx and onnxruntime; ends with 1 when either has changed.
set -eu
"${PYTHON:-.venv/bin/python}" - <<'EOF'
import numpy as np
import onnxruntime
import skl2onnx.operator_converters.random_forest as converters
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingClassifier

x = (np.arange(2000) % 6).astype("float32").reshape(-1, 1)
model = HistGradientBoostingClassifier(max_iter=5, categorical_features=[0]).fit(x, np.isin(x[:, 0], [1, 4]))
try:
    to_onnx(model, x)
except ValueError as error:
    assert "got a boolean" in str(error.__cause__ or error.__context__), error
else:
    raise SystemExit("it converts as it is: take the whole numbers out of pipelines/stores/tracking/onnx.py")
name = "add_tree_to_attribute_pairs_hist_gradient_boosting"
add, tracks = getattr(converters, name), "nodes_missing_value_tracks_true"


def added(pairs, *more, **named):
    add(pairs, *more, **named)
    pairs[tracks] = [int(each) for each in pairs[tracks]]


setattr(converters, name, added)
content = to_onnx(model, x, options={"zipmap": False}).SerializeToString()
said = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"X": x})[1]
apart = abs(said - model.predict_proba(x)).max()
print(f"split by categories: the ONNX form is {apart:.2f} apart")
raise SystemExit(0 if apart > 0.1 else 1)
EOF
