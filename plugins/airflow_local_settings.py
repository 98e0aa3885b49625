"""Imports the heavy libraries once in the scheduler, before LocalExecutor forks a process per task.

Importing them in every task costs 13-14 s; inherited from the scheduler a task takes a fraction of a second
(Airflow 3.3, 2 cores). Airflow imports this module by its name in every command; only the scheduler pays.
"""

import importlib
import sys

HEAVY = (
    "pandas",
    "pyarrow.dataset",
    "duckdb",
    "deltalake",
    "sklearn.ensemble",
    "sklearn.compose",
    "sklearn.linear_model",
    "sklearn.calibration",
    "skops.io",
    "scipy.stats",
    "matplotlib.backends.backend_agg",
    "mlflow.sklearn",
    "mlflow.data",
    "feast",
    "feast.infra.compute_engines.local.compute",
    "great_expectations",
    "duckdb_sqlalchemy",
    "evidently",
    "evidently.presets",
    "pipelines.loop.steps",
    "pipelines.ingestion.ingest",
    "pipelines.features.compute",
    "pipelines.features.health",
    "pipelines.training.train",
    "pipelines.gate",
    "pipelines.promotion.promote",
    "pipelines.monitoring.monitor",
    "pipelines.gate.report.plots",
    "pipelines.stores.offline",
    "pipelines.stores.online.store",
    "pipelines.stores.online.materialization",
    "pipelines.stores.tracking.registry",
    "pipelines.models.flight_delays.estimator",
)

if "scheduler" in sys.argv[1:2]:
    for name in HEAVY:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"not preloaded: {name}: {error}", file=sys.stderr)
