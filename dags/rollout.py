"""rollout_<model>: a version that passed its gate, step by step from shadow to champion, watched and taken back."""

from datetime import timedelta

from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    PokeReturnValue,
    dag,
    get_parsing_context,
    task,
)
from evergreen_airflow.notifiers import told
from evergreen_airflow.stages import START, defaults, earlier_try, stage, wall_clock

from pipelines.catalog import ModelSpec, models

DOC = """
**{name}**, by `rollout` of its spec: while a version is rolled out, serving asks it and the champion the same
questions, and a growing share of those who ask is answered by it. `watch` looks every {seconds} s: it goes a step
further when the step has baked without a breach, makes it champion after the last one, and takes it back at the first
breach of a limit. `end` tells how it ended; it fails, and people are told, if the version was taken back. It is skipped
where nothing is rolled out.

`evergreen rollout {name}` shows how it does, and `--take-back --reason "..."` ends it.

**If it fails:** the champion answers everybody. Nothing is left to be mended here; read why, and train anew.
"""
EVERY = timedelta(seconds=30)


def build(spec: ModelSpec) -> None:
    @dag(
        dag_id=f"rollout_{spec.name}",
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable("@hourly", timezone="UTC"),  # should the event be lost
            assets=[Asset(f"rollout_{spec.name}")],
        ),
        start_date=START,
        catchup=False,
        max_active_runs=1,
        default_args=defaults(spec.owner),
        tags=["rollout", spec.name],
        doc_md=DOC.format(name=spec.name, seconds=EVERY.seconds),
    )
    def rollout() -> None:
        @task.sensor(mode="reschedule", poke_interval=EVERY, timeout=timedelta(days=365))
        def watch() -> PokeReturnValue:
            from pipelines.loop import rollout as steps

            found = stage(steps.look, spec.name, now=wall_clock(), since=earlier_try())
            return PokeReturnValue(is_done=found["ended"], xcom_value=found)

        @task(outlets=[Asset(f"model_{spec.name}")], on_failure_callback=None)  # it tells of it itself
        def end(found: dict) -> str:
            from pipelines.alerting import happened
            from pipelines.loop import rollout as steps

            told(lambda stores, now: happened.decided(spec.name, stores, now))
            return stage(steps.end, found)

        end(watch())

    rollout()


for _spec in models().values():
    if _spec.rollout and get_parsing_context().dag_id in {None, f"rollout_{_spec.name}"}:
        build(_spec)
