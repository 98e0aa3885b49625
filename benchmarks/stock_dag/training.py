"""Labels with their features, the fit under MLflow, and the champion's alias."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.stock_dag import store
from benchmarks.stock_dag.places import Home
from benchmarks.stock_dag.views import known
from pipelines.catalog import model

if TYPE_CHECKING:
    import pandas as pd

NAME = "flight_delays"
KEYS = ["carrier", "flight", "origin", "dest", "scheduled_departure"]
ASKED = ["carrier", "origin", "dest", "tailnum", "scheduled_departure", "scheduled_arrival", "distance"]
NOT_INPUT = ["event_timestamp", "label_known_at", "label", "flight"]
HORIZON, HOLDOUT = timedelta(hours=2), timedelta(days=7)
REQUIREMENTS = ["scikit-learn", "pandas", "skops"]
"""Named, as MLflow otherwise installs nothing but loads the model once more to find out what it imports."""


FORMAT = "cloudpickle"
"""Quicker than MLflow's default, which looks for each function in every module that Airflow loaded. It runs whatever
code a file carries when it is loaded; our own side never does that."""


def training_set(start: datetime, end: datetime, home: Home) -> dict[str, Any]:
    """Join the labels that became known with their features, and put them at the end of the training table.

    Joining all labels of all time again, as the tutorials do, takes Feast's store time and memory that grow with the
    square of the days.
    """
    import pandas as pd

    flights = known("flights", pd.Timestamp(start), pd.Timestamp(end), home).dropna(subset="arrival_delay")
    entities = flights[[*KEYS, "tailnum", "scheduled_arrival", "distance"]].assign(
        event_timestamp=flights["scheduled_departure"] - HORIZON,
        label_known_at=flights["available_at"],
        label=(flights["arrival_delay"] >= 15).astype("int64"),
    )
    rows = store.historical(entities, home)
    path = home.training_table
    earlier = [pd.read_parquet(path)] if path.exists() else []
    table = pd.concat([*earlier, rows], ignore_index=True)
    table.to_parquet(path, index=False)
    return {"path": str(path), "rows": len(table), "new": len(rows)}


def split(rows: "pd.DataFrame", as_of: datetime) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """The rows to learn from, and the newest seven days, which are held out."""
    held = as_of - HOLDOUT
    newest = rows["event_timestamp"] >= held
    return rows[~newest & (rows["label_known_at"] < held)], rows[newest]


def inputs(rows: "pd.DataFrame") -> "pd.DataFrame":
    """What the model is asked with."""
    return rows.drop(columns=NOT_INPUT)


def train(as_of: datetime, home: Home) -> dict[str, Any]:
    """Fit the estimator of spec.yaml, log it with its parameters and register it as the next version."""
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

    from pipelines.models.flight_delays.estimator import build

    parameters = model(NAME).parameters
    rows, held = split(pd.read_parquet(home.training_table), as_of)
    tracked(home)
    with mlflow.start_run(run_name=f"{as_of:%Y-%m-%d}") as run:
        mlflow.log_params(
            {**parameters, "rows": len(rows), "held_out": len(held), "as_of": as_of.isoformat()}
        )
        fitted = build(parameters).fit(inputs(rows), rows["label"])
        example = inputs(rows).head(5)
        made = mlflow.sklearn.log_model(
            fitted,
            name="model",
            registered_model_name=NAME,
            signature=infer_signature(example, fitted.predict_proba(example)),
            serialization_format=FORMAT,
            pip_requirements=REQUIREMENTS,
        )
        mlflow.log_metrics(scores(fitted, held))
    return {"run": run.info.run_id, "version": int(made.registered_model_version), "rows": len(rows)}


def evaluate_and_promote(made: dict[str, Any], as_of: datetime, home: Home) -> dict[str, Any]:
    """Ask candidate and champion the same held-out rows; the alias moves to the one with the smaller log loss."""
    import mlflow
    import pandas as pd
    from mlflow.exceptions import MlflowException

    _, held = split(pd.read_parquet(home.training_table), as_of)
    client = tracked(home)
    new = scores(mlflow.sklearn.load_model(f"models:/{NAME}/{made['version']}"), held)
    try:
        champion = client.get_model_version_by_alias(NAME, "champion").version
    except MlflowException:
        champion = None
    old = scores(mlflow.sklearn.load_model(f"models:/{NAME}@champion"), held) if champion else None
    better = old is None or new["log_loss"] < old["log_loss"]
    if better:
        client.set_registered_model_alias(NAME, "champion", str(made["version"]))
    return {"promoted": better, "scores": new, "champion": old, "version": made["version"]}


def scores(fitted: Any, held: "pd.DataFrame") -> dict[str, float]:
    """How a model does on held-out rows."""
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    said, truth = fitted.predict_proba(inputs(held))[:, 1], held["label"]
    return {
        "log_loss": float(log_loss(truth, said)),
        "roc_auc": float(roc_auc_score(truth, said)),
        "brier": float(brier_score_loss(truth, said)),
    }


def tracked(home: Home) -> Any:
    """MLflow's client, its store and its experiment set."""
    import mlflow

    mlflow.set_tracking_uri(home.tracking)
    if mlflow.get_experiment_by_name(NAME) is None:
        mlflow.create_experiment(NAME, artifact_location=(home.root / "artifacts").as_uri())
    mlflow.set_experiment(NAME)
    return mlflow.MlflowClient()
