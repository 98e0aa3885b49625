#!/usr/bin/env bash
# scikit-learn 1.9.1: HistGradientBoosting takes missing values, but fit fails where one column has nothing else, with
# "window shape cannot be larger than input array shape", which names neither the column nor what is wrong. 1.6.1 fits,
# and ignores the column. A feature whose source is silent for the whole training window is such a column.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/fit.py" <<'PY'
import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier

rows = np.column_stack([np.arange(200.0), np.full(200, np.nan)])
try:
    model = HistGradientBoostingClassifier(max_iter=5).fit(rows, rows[:, 0] > 100)
    said = f"fits, {model.score(rows, rows[:, 0] > 100):.2f} right"
except ValueError as error:
    said = f"ValueError: {error}"
print(f"scikit-learn {sklearn.__version__}: {said}")
PY
for version in 1.6.1 1.9.1; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install -q --disable-pip-version-check "scikit-learn==$version" numpy==2.2.6 scipy==1.15.3
  "$folder/$version/bin/python" "$folder/fit.py" | tee -a "$folder/said"
done
diff "$folder/said" - <<'SAID'
scikit-learn 1.6.1: fits, 1.00 right
scikit-learn 1.9.1: ValueError: window shape cannot be larger than input array shape
SAID
