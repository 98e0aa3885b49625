"""Own data, from a file to a verdict: `new --yes`, then `try`, on one table after another.

Each table gets a project of its own in a temporary folder. Printed are the minutes, what a person had to write, the
verdict, and how good the model is on the held-out rows beside a plain scikit-learn model that was fitted on the same
rows without any feature. Without files, tables that come with scikit-learn are taken.

    python -m benchmarks.own_models data.csv wine.csv=--positive=1 --rows 20000
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipelines.scaffold.names import mapped
from pipelines.scaffold.project import copied


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tables", nargs="*", help="FILE, or FILE=FLAGS such as wine.csv=--positive=1,--label=target"
    )
    parser.add_argument("--rows", type=int, default=20_000, help="how many rows a trial takes at most")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evergreen-own-") as folder:
        tables = asked.tables or _stock(Path(folder))
        print(
            f"{'table':24} {'rows':>8} {'flags':>5} {'files':>5} {'new s':>6} {'try s':>6} {'verdict':13} "
            "model / plain / rule"
        )
        for number, table in enumerate(tables):
            place = Path(folder, f"project_{number}")
            place.mkdir()
            print(_measured(table, place, asked.rows), flush=True)


def _stock(folder: Path) -> list[str]:
    """Tables that come with scikit-learn, as CSV."""
    from sklearn import datasets

    made = []
    for name, flags in (("breast_cancer", ""), ("wine", "=--positive=1"), ("diabetes", "")):
        path = folder / f"{name}.csv"
        getattr(datasets, f"load_{name}")(as_frame=True).frame.to_csv(path, index=False)
        made.append(f"{path}{flags}")
    return made


def _measured(table: str, place: Path, rows: int) -> str:
    file, _, flags = table.partition("=")
    name = mapped([Path(file).stem.split(".")[0].lower()])[0] + "_model"
    project = copied(place)
    written, new = _run(project, "new", name, "--from", file, "--yes", *(f for f in flags.split(",") if f))
    if isinstance(written, str):
        return f"{Path(file).name:24} {'refused: ' + written}"
    found, tried = _run(project, "try", name, "--rows", str(rows), "--home", str(place / "home"))
    files, own = len(written["files"]), len([f for f in flags.split(",") if f])
    begin = f"{Path(file).name:24} {_rows(written):>8,} {own:>5} {files:>5} {new:>6.1f} {tried:>6.1f}"
    if isinstance(found, str):
        return f"{begin} broke: {found}"
    failed = "; ".join(f"{r['name']}: {r['explanation'][:100]}" for r in found["failed"])
    return f"{begin} {found['decision']:13} {_quality(found)}{'  ' + failed if failed else ''}"


def _rows(written: dict[str, Any]) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(written["landed"]).num_rows)


def _run(project: Path, *words: str) -> tuple[Any, float]:
    """What a command prints as JSON, or the last line of what went wrong; and its seconds."""
    begun = time.monotonic()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EVERGREEN_")}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *words, "--json"],
        cwd=project, capture_output=True, text=True, check=False,
        env=environment | {"PYTHONPATH": str(project), "OMP_WAIT_POLICY": "PASSIVE", "COLUMNS": "400"},
    )  # fmt: skip
    seconds = time.monotonic() - begun
    try:
        return json.loads(done.stdout), seconds
    except ValueError:
        return (done.stderr.strip() or "no word").splitlines()[-1][:300], seconds


def _quality(found: dict[str, Any]) -> str:
    """Model, plain scikit-learn and the rule of thumb: AUC, of many classes the accuracy, of numbers the RMSE."""
    metrics = found["metrics"]
    many = isinstance(found["answer"], dict)
    metric = "accuracy" if many else "roc_auc" if "roc_auc" in metrics["candidate"] else "rmse"
    ours, rule = (metrics[who][metric] for who in ("candidate", "baseline"))
    return f"{metric} {ours:.4g} / {_plain(found['training_set'], metric):.4g} / {rule:.4g}"


def _plain(training_set: dict[str, Any], metric: str) -> float:
    """scikit-learn's gradient boosting as it comes, on what the rows themselves say."""
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.metrics import accuracy_score, roc_auc_score, root_mean_squared_error

    rows = pd.read_parquet(training_set["path"])
    own = [
        n for n in rows if "__" not in n and n not in ("label", "split", "label_known_at", "event_timestamp")
    ]
    values = rows[own].copy()
    for name in own:
        if values[name].dtype == object:
            values[name] = values[name].astype("category").cat.codes.replace(-1, float("nan"))
        elif str(values[name].dtype).startswith("datetime"):
            values[name] = values[name].astype("int64") / 1e15
    learned, held = rows["split"] == "train", rows["split"] == "holdout"
    if metric != "rmse":
        model = HistGradientBoostingClassifier(random_state=0).fit(values[learned], rows["label"][learned])
        if metric == "accuracy":
            return float(accuracy_score(rows["label"][held], model.predict(values[held])))
        return float(roc_auc_score(rows["label"][held], model.predict_proba(values[held])[:, 1]))
    model = HistGradientBoostingRegressor(random_state=0).fit(values[learned], rows["label"][learned])
    return float(root_mean_squared_error(rows["label"][held], model.predict(values[held])))


if __name__ == "__main__":
    main()
