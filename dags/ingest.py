"""ingest_<dataset>: takes landed files in, when they arrive and on a sweep that makes a lost event harmless."""

from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    AssetWatcher,
    CronTriggerTimetable,
    dag,
    get_parsing_context,
    task,
)
from evergreen_airflow.arrivals import LandingTrigger, queue_watcher
from evergreen_airflow.notifiers import told
from evergreen_airflow.stages import START, defaults, earlier_try, form, stage

from pipelines.catalog import DatasetSpec, datasets
from pipelines.settings import settings

DOC = """
Reads every settled file of **{name}** that the ledger does not know, strictly by `pipelines/datasets/{name}.yaml`,
validates it by `expectations/{name}.json`, and commits rows to silver or quarantine, each exactly once.

{description}

**If it fails:** the files still lie in the landing folder and nothing was lost; the next run takes them. A refused file
does not fail the run: see `evergreen status` and the alerts. A file that a fault of ours keeps out stays and is tried
again, three times in all; then it is refused, and `evergreen quarantine release` judges it again.
"""


def watchers(spec: DatasetSpec) -> list[AssetWatcher]:
    """Who tells that files have landed: a look at the folder and, if one is set, a message queue."""
    landing = LandingTrigger(str(settings().landing_path), spec.pattern, inbox=settings().inbox)
    found = [AssetWatcher(name=f"landing_{spec.name}", trigger=landing)]
    queue = settings().arrival_queue
    return [*found, queue_watcher(queue, spec.name)] if queue else found


def build(spec: DatasetSpec) -> None:
    @dag(
        dag_id=f"ingest_{spec.name}",
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(settings().arrival_sweep or spec.sweep, timezone="UTC"),
            assets=[Asset(f"landing_{spec.name}", watchers=watchers(spec))],
        ),
        start_date=START,
        catchup=False,
        max_active_runs=1,
        default_args=defaults(spec.owner),
        params=form(),
        tags=["ingest", spec.name],
        doc_md=DOC.format(name=spec.name, description=spec.description),
    )
    def ingest() -> None:
        @task(outlets=[Asset(f"silver_{spec.name}")])
        def ingest_and_validate() -> list:
            from pipelines.alerting import landed
            from pipelines.loop import steps

            results = stage(steps.ingest, spec.name, earlier_try())
            told(lambda stores, _now: landed.ingested(spec.name, results, stores))
            stage(steps.something_new, spec.name, results)
            return results

        ingest_and_validate()

    ingest()


for _spec in datasets().values():
    if get_parsing_context().dag_id in {None, f"ingest_{_spec.name}"}:
        build(_spec)
