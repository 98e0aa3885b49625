"""retrain_<model>: from new labels to a new champion: by schedule, data event, drift, decay, changed code or hand."""

from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable, dag, get_parsing_context, task
from evergreen_airflow.notifiers import told
from evergreen_airflow.stages import START, defaults, form, pod, stage, wall_clock, woken_by

from pipelines.catalog import ModelSpec, models

DOC = """
{description}

`plan` reads from the records whether there is a reason (new labels, changed code, drift, decay) and whether the policy
under `training` in spec.yaml lets it begin now. If not, it ends the run early; its log says why, and until when what is
new waits. `training_set` joins labels with the features known at their moment. `train` fits, logs and registers one
candidate. `rebuild` makes it a second time beside that, from the tables; gate and notary hold the record against it.
`evaluate` is the gate: floors, baseline and champion on identical held-out rows. `promote` makes a candidate champion
only if the gate said PASS; FAIL and INCONCLUSIVE keep the champion. `report` draws plots, page and card; nobody waits
for it but a person who is asked. Where spec.yaml asks for a person's approval, `submit` ends the run unless the gate
said PASS, and `approve` waits for an answer, here or by REST; none in time means no. The tab Evergreen shows the
champion and rolls it back. `evergreen why {name}` tells the story.

**If it fails:** the champion keeps answering. Clear the failed task to go on where it stopped; any task may run twice.
"""


def _news(spec: ModelSpec) -> Asset:
    """What tells of new rows: the features that were computed of them, or the rows themselves where none are."""
    return Asset("features") if spec.features else Asset(f"silver_{spec.label.dataset}")


def _outlets(spec: ModelSpec) -> list[Asset]:
    """A new champion, or the beginning of its rollout."""
    return [Asset(f"model_{spec.name}"), *([Asset(f"rollout_{spec.name}")] if spec.rollout else [])]


def build(spec: ModelSpec) -> None:
    @dag(
        dag_id=f"retrain_{spec.name}",
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(spec.schedule, timezone="UTC"),
            assets=_news(spec) | Asset(f"decayed_{spec.name}"),
        ),
        start_date=START,
        catchup=False,
        max_active_runs=1,
        default_args=defaults(spec.owner),
        params=form(),
        tags=["retrain", spec.name],
        doc_md=DOC.format(description=spec.description, name=spec.name),
    )
    def retrain() -> None:
        @task
        def plan(params: dict | None = None, dag_run=None, triggering_asset_events=None) -> dict:
            from pipelines.loop import steps

            asked = {key: (params or {}).get(key) for key in ("as_of", "force", "reason")}
            woken = woken_by(dag_run, triggering_asset_events)
            return stage(steps.plan, spec.name, **asked, now=wall_clock(), woken=woken)

        @task(executor_config=pod(spec, "training_set"))
        def training_set(planned: dict) -> dict:
            from pipelines.loop import steps

            return stage(steps.training_set, spec.name, planned["as_of"])

        @task(executor_config=pod(spec, "train"))
        def train(rows: dict, planned: dict) -> dict:
            from pipelines.loop import steps

            return stage(steps.train, spec.name, rows, planned)

        @task(executor_config=pod(spec, "rebuild"))
        def rebuild(rows: dict) -> dict:
            from pipelines.loop import steps

            return stage(steps.rebuild, spec.name, rows)

        @task(executor_config=pod(spec, "evaluate"))
        def evaluate(candidate: dict, rows: dict) -> dict:
            from pipelines.alerting import happened
            from pipelines.loop import steps

            verdict = stage(steps.evaluate, spec.name, candidate, rows, now=wall_clock())
            told(lambda _stores, _now: happened.judged(verdict))
            return verdict

        @task(trigger_rule="none_failed_min_one_success", executor_config=pod(spec, "report"))
        def report(verdict: dict, rows: dict) -> dict:
            from pipelines.loop import steps

            return stage(steps.report, spec.name, verdict["version"], rows)

        @task
        def submit(verdict: dict) -> dict:
            from pipelines.loop import steps

            return stage(steps.submit, spec.name, verdict)

        @task(outlets=_outlets(spec), executor_config=pod(spec, "promote"))
        def promote(verdict: dict) -> dict:
            from pipelines.alerting import happened
            from pipelines.loop import steps

            answer = stage(steps.promote, spec.name, verdict["version"], now=wall_clock())
            told(lambda stores, now: happened.decided(spec.name, stores, now))
            return answer

        planned = plan()
        rows = training_set(planned)
        verdict = evaluate(train(rows, planned), rows)
        if spec.gate.rebuild:
            rebuild(rows) >> verdict
        promoted, reported = promote(verdict), report(verdict, rows)
        if spec.promotion.approval:
            from evergreen_airflow.approval import approval

            reported >> submit(verdict) >> approval(spec, "submit") >> promoted
        else:
            promoted >> reported

    retrain()


for _spec in models().values():
    if get_parsing_context().dag_id in {None, f"retrain_{_spec.name}"}:
        build(_spec)
