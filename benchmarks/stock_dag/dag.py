"""The stock loop as a DAG with Airflow's TaskFlow: a run for each day, in order.

`STOCK_HOME` names its folder. A run works on the day that ended when it was due: `airflow dags test stock_flight_delays
2013-04-09` takes the files of April 8.
"""

from datetime import UTC, datetime

from airflow.sdk import CronDataIntervalTimetable, dag, task

from benchmarks.stock_dag import tasks


@dag(
    dag_id="stock_flight_delays",
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2013, 4, 1, tzinfo=UTC),
    catchup=True,
    max_active_runs=1,
    tags=["stock"],
)
def stock_flight_delays() -> None:
    """Ingest, validate, compute features, train, evaluate, promote, report."""

    @task
    def ingest(dataset: str, data_interval_start: datetime | None = None) -> dict:
        return tasks.ingest(dataset, day(data_interval_start))

    @task
    def features(data_interval_start: datetime | None = None) -> dict:
        return tasks.features(day(data_interval_start))

    @task
    def materialize(data_interval_start: datetime | None = None) -> None:
        tasks.materialize(day(data_interval_start))

    @task
    def training_set(data_interval_start: datetime | None = None) -> dict:
        return tasks.training_set(day(data_interval_start))

    @task
    def train(data_interval_start: datetime | None = None) -> dict:
        return tasks.train(day(data_interval_start))

    @task
    def evaluate_and_promote(made: dict, data_interval_start: datetime | None = None) -> dict:
        return tasks.evaluate_and_promote(made, day(data_interval_start))

    @task
    def report(data_interval_start: datetime | None = None) -> dict:
        return tasks.report(day(data_interval_start))

    computed, rows, made = features(), training_set(), train()
    ingest.expand(dataset=list(tasks.DATASETS)) >> computed >> rows >> [made, materialize()]
    evaluate_and_promote(made) >> report()


def day(start: datetime | None) -> str:
    """The day of a run's data."""
    assert start is not None
    return start.astimezone(UTC).isoformat()


stock_flight_delays()
