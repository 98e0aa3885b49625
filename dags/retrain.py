"""retrain_<model>: from new labels to a new champion, by schedule, by data event, or by hand."""

from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable, dag, get_parsing_context, task
from evergreen_airflow.stages import START, defaults, form, stage, trigger_of

from pipelines.catalog import ModelSpec, models

DOC = """
{description}

`plan` ends the run early when nothing is new. `training_set` joins labels with the features known at their moment.
`train` fits, logs and registers one candidate. `evaluate` is the gate: floors, baseline and champion on identical
held-out rows. `promote` makes a candidate champion only if the gate said PASS; FAIL and INCONCLUSIVE keep the champion.

**If it fails:** the champion keeps answering. Clear the failed task to go on where it stopped; any task may run twice.
"""


def build(spec: ModelSpec) -> None:
    @dag(
        dag_id=f"retrain_{spec.name}",
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(spec.schedule, timezone="UTC"), assets=[Asset("features")]
        ),
        start_date=START,
        catchup=False,
        max_active_runs=1,
        default_args=defaults(spec.owner),
        params=form(),
        tags=["retrain", spec.name],
        doc_md=DOC.format(description=spec.description),
    )
    def retrain() -> None:
        @task
        def plan(params: dict | None = None) -> dict:
            from pipelines.contracts import NothingToDo
            from pipelines.stages import retrain

            asked = params or {}
            found = stage(retrain.plan, spec.name, asked.get("as_of"), asked.get("force", False))
            return found or stage(NothingToDo.say, "no new labels and no changed code")

        @task
        def training_set(planned: dict) -> dict:
            from pipelines.stages import retrain

            return stage(retrain.training_set, spec.name, planned["as_of"])

        @task
        def train(rows: dict, params: dict | None = None, dag_run=None) -> dict:
            from pipelines.stages import retrain

            return stage(retrain.train, spec.name, rows, trigger_of(dag_run, params or {}))

        @task
        def evaluate(candidate: dict, rows: dict) -> dict:
            from pipelines.stages import retrain

            return stage(retrain.evaluate, spec.name, candidate, rows)

        @task(outlets=[Asset(f"model_{spec.name}")])
        def promote(verdict: dict) -> dict:
            from pipelines.stages import retrain

            return stage(retrain.promote, spec.name, verdict["version"])

        rows = training_set(plan())
        promote(evaluate(train(rows), rows))

    retrain()


for _spec in models().values():
    if get_parsing_context().dag_id in {None, f"retrain_{_spec.name}"}:
        build(_spec)
