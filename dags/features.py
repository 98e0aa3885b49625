"""features: brings the feature tables and the online store up to date when any dataset has new rows."""

from airflow.sdk import Asset, AssetAny, AssetOrTimeSchedule, CronTriggerTimetable, dag, task
from evergreen_airflow.notifiers import told
from evergreen_airflow.stages import START, defaults, form, stage

from pipelines.catalog import datasets

DOC = """
Computes each view of `feature_repo/*.sql` for what became known since it last ran, and materializes the newest
values into Feast's online store.

**If it fails:** serving goes on with the values that are online; the next run computes what is missing. A view that
cannot be computed stops no other: what follows from these is woken, and `all_computed` fails with the reason.
"""


@dag(
    dag_id="features",
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("*/15 * * * *", timezone="UTC"),
        assets=AssetAny(*(Asset(f"silver_{name}") for name in datasets())),
    ),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=defaults("ml-platform"),
    params=form(),
    tags=["features"],
    doc_md=DOC,
)
def features() -> None:
    @task(outlets=[Asset("features")])
    def compute_and_materialize(params: dict | None = None) -> dict:
        from pipelines.alerting import landed
        from pipelines.contracts import NothingToDo
        from pipelines.loop import steps

        run = stage(steps.features, (params or {}).get("as_of"))
        told(lambda stores, _now: landed.computed(run, stores))
        if not run["rows"] and not run["failed"]:
            stage(NothingToDo.say, "the features were up to date")
        return run

    @task
    def all_computed(run: dict) -> None:
        from pipelines.loop import steps

        stage(steps.all_computed, run)

    all_computed(compute_and_materialize())


features()
