"""The task that asks a person, in Airflow's own page of required actions, before a decision PROMOTE is carried out."""

from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param

from churn.gate.approval import WAIT
from run import database_url

APPROVE = "Approve"
REJECT = "Reject"

NOTE_PARAM = Param(
    "",
    type=["null", "string"],
    title="Note",
    description="Why; it is kept with the decision, under your name.",
)
"""What the form asks for beside the answer: the task's parameter `note`."""


class ApprovalTask(HITLOperator):
    """Asks about the decision where the run's parameter `approval` is set, and returns the answer as JSON.

    Returns None at once, without waiting, where nobody needs to be asked. While it waits it holds no slot: Airflow
    parks it.

    Args:
        decision: what the task `gate` returned.
    """

    template_fields = ("subject", "body", "decision")

    def __init__(self, *, decision: Any, **kwargs: Any) -> None:
        super().__init__(
            subject="Promote the candidate to Production?",
            options=[APPROVE, REJECT],
            defaults=REJECT,
            response_timeout=WAIT,
            **kwargs,
        )
        self.decision = decision

    def execute(self, context: Any) -> Any:
        from churn.gate.question import ask

        if not context["params"].get("approval") or self.decision["decision"] != "PROMOTE":
            return None
        question = ask(self.decision["version"], database_url(), self.decision.get("decision_id"))
        if question is None:
            return None
        self.subject, self.body = question.subject, question.body
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        answer = super().execute_complete(context, event)
        user = answer["responded_by_user"]
        return {
            "approved": answer["chosen_options"] == [APPROVE],
            "who": (user["name"] or user["id"]) if user else None,
            "at": answer["responded_at"].isoformat(),
            "note": answer["params_input"].get("note") or "",
        }
