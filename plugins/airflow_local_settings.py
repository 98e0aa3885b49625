"""Imports the heavy libraries once, where tasks are forked from: in LocalExecutor's scheduler, in Celery's worker.

Importing them in every task costs 13-14 s; inherited, a task takes a fraction of a second (Airflow 3.3, 2 cores).
Airflow imports this module by its name in every command; only those two pay. What is made at the first use of a library
is made here as well: MLflow's tables are mapped and skops has listed the types it knows, which took 1.5 s and 0.6 s of
each task that asked MLflow or opened a model.
"""

import gc
import importlib
import sys

import pipelines  # noqa: F401 - every process of Airflow goes through its objects as seldom as ours do

HEAVY = (
    "pipelines",  # before scikit-learn: it says how OpenMP's threads wait
    "pandas",
    "pyarrow.dataset",
    "duckdb",
    "deltalake",
    "deltalake.fs",
    "sklearn.ensemble",
    "sklearn.compose",
    "sklearn.linear_model",
    "sklearn.calibration",
    "sklearn.inspection",
    "skops.io",
    "scipy.stats",
    "fairlearn.metrics",
    "matplotlib.backends.backend_agg",
    "PIL.PngImagePlugin",
    "mlflow.sklearn",
    "mlflow.data",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "feast",
    "feast.infra.passthrough_provider",
    "feast.repo_operations",
    "feast.infra.compute_engines.local.compute",
    "great_expectations",
    "duckdb_sqlalchemy",
    "evidently",
    "evidently.presets",
    "pipelines.loop.steps",
    "pipelines.ingestion.ingest",
    "pipelines.features.compute",
    "pipelines.features.frontier",
    "pipelines.features.health",
    "pipelines.features.watermark",
    "pipelines.training.train",
    "pipelines.training.rebuild",
    "pipelines.gate",
    "pipelines.promotion.promote",
    "pipelines.monitoring.monitor",
    "pipelines.gate.report.files",
    "pipelines.record.card",
    "pipelines.stores.audit.log",
    "pipelines.stores.feature_store.features",
    "pipelines.stores.ledger",
    "pipelines.stores.offline",
    "pipelines.stores.online.store",
    "pipelines.stores.online.materialization",
    "pipelines.stores.answers.predictions",
    "pipelines.stores.progress",
    "pipelines.stores.signals",
    "pipelines.stores.tracking.registry",
)

CONNECTED = (
    ("database", "sql_alchemy_conn", "Airflow's database"),
    ("database", "sql_alchemy_conn_async", "Airflow's database, asynchronously"),
    ("celery", "broker_url", "Celery's broker"),
    ("celery", "result_backend", "Celery's results"),
    ("core", "execution_api_server_url", "tasks to Airflow's API"),
    ("api", "base_url", "browsers to Airflow"),
)
"""Where Airflow itself connects to, by its own options."""


def load() -> None:
    """Import everything; what cannot be imported is told, and is then each task's own to fail over."""
    gc.disable()  # nothing of it is garbage, and a task that went through it would copy its pages
    lean()
    for name in [*HEAVY, *_estimators()]:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"not preloaded: {name}: {error}", file=sys.stderr)
    first_uses()
    gc.freeze()
    gc.enable()


def encrypted() -> None:
    """Where EVERGREEN_TLS is required, no part of Airflow starts over a connection of its own that is plain."""
    from pipelines import transit
    from pipelines.contracts import EvergreenError
    from pipelines.settings import Settings, around

    try:
        required = Settings().tls == "required"
    except (EvergreenError, ValueError) as error:  # what else is wrong is said where it is used
        required = False
        if transit.REQUIRED in str(error):
            sys.exit(str(error))
    if not required:
        return
    from airflow.configuration import conf

    found = [
        transit.judged(f"AIRFLOW__{section.upper()}__{option.upper()}", what, said, around())
        for section, option, what in CONNECTED
        if (said := conf.get(section, option, fallback=None))
    ]
    host, certificate = (conf.get("api", name, fallback="") for name in ("host", "ssl_cert"))
    server = transit.server("AIRFLOW__API__SSL_CERT", "callers of Airflow's API", host, certificate)
    why = transit.refusal([*found, server])
    if why is not None:
        sys.exit(why)


def lean() -> None:
    """Feast and Great Expectations as our own code imports them: without what they do not need here."""
    from pipelines.stores.feature_store import feast_import
    from pipelines.validation.expectations import gx

    for imported in (feast_import.unchecked, gx):
        try:
            imported()
        except ImportError as error:
            print(f"not preloaded: {error}", file=sys.stderr)


def _estimators() -> list[str]:
    """The models' own modules; a spec that is wrong is told where it is used, and stops no scheduler."""
    from pipelines import catalog
    from pipelines.contracts import EvergreenError

    try:
        return [f"pipelines.models.{name}.estimator" for name in catalog.models()]
    except EvergreenError as error:
        print(f"no estimator is preloaded: {error}", file=sys.stderr)
        return []


def first_uses() -> None:
    """What these libraries make at their first use: SQLAlchemy's mappers, and the types that skops knows."""
    import skops.io
    from sqlalchemy.orm import configure_mappers

    configure_mappers()
    skops.io.get_untrusted_types(data=skops.io.dumps({}))


def forks_tasks() -> bool:
    """Whether tasks are forked from this process. A scheduler that hands them to workers elsewhere needs none of it."""
    if sys.argv[1:3] == ["celery", "worker"]:
        return True
    if sys.argv[1:2] != ["scheduler"]:
        return False
    return __name__ == "__main__" or _executor() == "LocalExecutor"


def _executor() -> str:
    from airflow.configuration import conf

    return str(conf.get("core", "executor"))


encrypted()
if forks_tasks():
    load()
