"""Evidently's report: drift of the newest week against what the model learned from, and how the champion answers."""

from datetime import datetime
from typing import Any

from benchmarks.stock_dag.places import Home
from benchmarks.stock_dag.training import ASKED, NAME, inputs, split, tracked

SAMPLE = 5_000
"""Rows of each side, as many as our own report shows: Evidently's guide asks for samples where tables are large."""


def report(as_of: datetime, home: Home) -> dict[str, Any]:
    """Write the report; the share of columns that drifted."""
    import mlflow
    import pandas as pd
    from evidently import BinaryClassification, DataDefinition, Dataset, Report
    from evidently.presets import ClassificationQuality, DataDriftPreset

    learned, newest = split(pd.read_parquet(home.training_table), as_of)
    tracked(home)
    champion = mlflow.sklearn.load_model(f"models:/{NAME}@champion")
    sides = [side.sample(min(SAMPLE, len(side)), random_state=0) for side in (learned, newest)]
    columns = [each for each in inputs(learned) if each not in ASKED or each == "distance"]
    definition = DataDefinition(
        numerical_columns=columns,
        categorical_columns=["carrier", "origin", "dest"],
        classification=[BinaryClassification(target="label", prediction_probas="answer", pos_label=1)],
    )
    reference, current = (
        Dataset.from_pandas(
            side[[*columns, "carrier", "origin", "dest", "label"]].assign(
                answer=champion.predict_proba(inputs(side))[:, 1]
            ),
            data_definition=definition,
        )
        for side in sides
    )
    found = Report([DataDriftPreset(), ClassificationQuality()]).run(current, reference)
    home.report.parent.mkdir(parents=True, exist_ok=True)
    found.save_html(str(home.report))
    (share,) = (
        m["value"]["share"] for m in found.dict()["metrics"] if "DriftedColumnsCount" in m["metric_name"]
    )
    return {"drifted": share}
