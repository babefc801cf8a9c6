"""The human-in-the-loop task: a person approves or rejects a decision PROMOTE under Required Actions."""

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
"""The task's parameter `note`, a field of the form."""


class ApprovalTask(HITLOperator):
    """Asks for approval if the run's parameter `approval` is set, and returns the answer as JSON.

    Returns None at once if no approval is needed. The task is deferred while it waits and holds no worker slot.

    Args:
        decision: the result of the task `gate`.
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
