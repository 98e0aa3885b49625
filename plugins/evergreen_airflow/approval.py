"""Asks a person before a version becomes champion: in Airflow's UI or by REST, waiting without a worker."""

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param

from evergreen_airflow.stages import behalf, stage, wall_clock
from pipelines.acting import acting_as
from pipelines.catalog import ModelSpec

NOBODY = "nobody answered in time"


class Approval(ApprovalOperator):
    """Yes lets the version on, no and silence do not; whoever answers is in the audit log before anything follows."""

    def __init__(self, *, model: str, asked: str, **named: Any) -> None:
        super().__init__(**named)
        self.model, self.asked = model, asked

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        if "error" not in event:
            question = context["ti"].xcom_pull(task_ids=self.asked)
            stage(_told, self.model, question, event)
        return super().execute_complete(context, event)


def approval(spec: ModelSpec, asked: str) -> Approval:
    """The task that asks; `asked` is the task whose answer holds the question."""
    return Approval(
        task_id="approve",
        model=spec.name,
        asked=asked,
        subject=f"{{{{ ti.xcom_pull(task_ids='{asked}')['subject'] }}}}",
        body=f"{{{{ ti.xcom_pull(task_ids='{asked}')['body'] }}}}",
        defaults=ApprovalOperator.REJECT,
        response_timeout=spec.promotion.approval_timeout,
        params={
            "reason": Param(
                None,
                type=["null", "string"],
                maxLength=500,
                title="Reason",
                description="Why; the audit log keeps it.",
            )
        },
    )


def _told(model: str, question: dict[str, Any], event: dict[str, Any]) -> None:
    """Write the answer down in the name of who gave it; a person's yes is for the record that was shown."""
    from pipelines.loop import steps

    person = event["responded_by_user"]
    yes = event["chosen_options"] == [Approval.APPROVE]
    given = (event["params_input"] or {}).get("reason")
    reason = given or (f"{'approved' if yes else 'rejected'} in Airflow" if person else NOBODY)
    with acting_as(f"ui: {person['name']}" if person else behalf()):
        steps.approve(model, question["version"], yes, reason, question["record"], wall_clock())
