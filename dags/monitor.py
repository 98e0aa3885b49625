"""monitor_<model>: what arrives against what the champion learned from, after each retraining and on a schedule."""

from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable, dag, get_parsing_context, task
from evergreen_airflow.notifiers import told
from evergreen_airflow.stages import START, defaults, form, pod, stage, wall_clock

from pipelines.catalog import ModelSpec, dataset, models

DOC = """
Writes Evidently's drift report (HTML and JSON, in `var/reports/monitor` and in the champion's MLflow run) and the
metrics of the champion of **{name}** on the truth that has arrived. `ask_for_training` wakes the retraining if the
inputs drifted or the champion decayed, beyond doubt and on enough rows: asked the newest labelled rows, or by the
answers that it gave. It is skipped otherwise, and its log says what was found. The signal is recorded before the event,
so a lost event costs one tick of the retraining's schedule.
`performance` writes the page of the model's days, `var/reports/performance/{name}.html`, from its answers and the truth
that came for them; it is skipped where there are none. `archive` moves what is new in the prediction log to the Delta
tables `predictions/{name}` and `truths/{name}`, each answer once. `retain` removes what is older than the retention of
the model's datasets, where one has any.

**If it fails:** nothing else depends on it; the next run reports again.
"""


def build(spec: ModelSpec) -> None:
    @dag(
        dag_id=f"monitor_{spec.name}",
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(spec.monitor.schedule, timezone="UTC"),
            assets=[Asset(f"model_{spec.name}")],
        ),
        start_date=START,
        catchup=False,
        max_active_runs=1,
        default_args=defaults(spec.owner),
        params=form(),
        tags=["monitor", spec.name],
        doc_md=DOC.format(name=spec.name),
    )
    def monitor() -> None:
        @task(executor_config=pod(spec, "monitor"))
        def report(params: dict | None = None) -> dict:
            from pipelines.alerting import happened, watched
            from pipelines.loop import steps

            found = stage(steps.monitor, spec.name, (params or {}).get("as_of"))
            told(lambda stores, now: watched.monitored(found, stores, now))
            told(lambda stores, now: happened.decided(spec.name, stores, now))
            return found

        @task(outlets=[Asset(f"decayed_{spec.name}")])
        def ask_for_training(found: dict) -> str:
            from pipelines.contracts import NothingToDo

            asks = found["drifted"] or found["decayed"]
            return found["explanation"] if asks else stage(NothingToDo.say, found["explanation"])

        @task
        def archive() -> dict:
            from pipelines.loop import steps

            return stage(steps.archive, spec.name, now=wall_clock())

        @task(executor_config=pod(spec, "monitor"))
        def performance() -> str:
            from pipelines.loop import steps

            return stage(steps.performance, spec.name)["page"]

        @task
        def retain() -> list:
            from pipelines.loop import steps

            return stage(steps.retain, spec.name, now=wall_clock())

        ask_for_training(report())
        performance()
        archived = archive()
        if any(dataset(name).retention for name in spec.datasets):
            archived >> retain()

    monitor()


for _spec in models().values():
    if get_parsing_context().dag_id in {None, f"monitor_{_spec.name}"}:
        build(_spec)
