#!/usr/bin/env bash
# skl2onnx 1.20.0 (scikit-learn 1.8.0, onnx 1.18.0, protobuf 5.29.5): a HistGradientBoosting model that splits by categories
# converts without a word, and its ONNX form, in which they are splits by size, answers 0.41 apart from it. The same model
# without categories is 1.5e-08 apart. A protobuf that takes no boolean for an int (7, for one) converts neither.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
  skl2onnx==1.20.0 onnx==1.18.0 protobuf==5.29.5 onnxruntime==1.23.2 scikit-learn==1.8.0
"$folder/venv/bin/python" - <<'PY'
import warnings

import numpy as np
import onnxruntime
import skl2onnx
from sklearn.ensemble import HistGradientBoostingClassifier

warnings.simplefilter("error")
codes = (np.arange(2000) % 6).astype("float32").reshape(-1, 1)
truth = np.isin(codes[:, 0], [1, 4])


def furthest(categories):
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features=categories).fit(codes, truth)
    form = skl2onnx.to_onnx(model, codes, options={"zipmap": False}).SerializeToString()
    said = onnxruntime.InferenceSession(form, providers=["CPUExecutionProvider"]).run(None, {"X": codes})[1]
    return float(np.abs(said - model.predict_proba(codes)).max())


plain, split = furthest(None), furthest([0])
print("skl2onnx", skl2onnx.__version__, f"furthest answer of the ONNX form: {plain:.1e}, by categories {split:.2f}")
assert plain < 1e-6, plain
assert split > 0.4, "it is otherwise now"
PY
