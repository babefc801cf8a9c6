"""The human-in-the-loop tasks: a person approves or rejects a decision PROMOTE, or an erasure, in Required Actions."""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param

from churn.gate.approval import WAIT
from run import database_url, no_retry

APPROVE = "Approve"
REJECT = "Reject"

WAIT_FOR_ERASURE = timedelta(days=3)
"""Timeout of the question about an erasure: over a weekend. A month is left to ask again, so silence is no answer."""

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
        return _said(super().execute_complete(context, event))


class NotApproved(RuntimeError):
    """The answer does not count, and the message says why; clearing the task asks again."""


def approval_is_required() -> bool:
    """Tell whether Airflow's environment requires approval of every erasure."""
    return os.environ.get("CHURN_ERASE_APPROVAL", "").lower() == "true"


class ErasureApprovalTask(HITLOperator):
    """Asks a second person about an erasure if Airflow's environment or the run's parameter `approval` says so, and
    returns the answer as JSON. The parameter cannot switch off the environment's: whoever triggers the run sets it.

    Returns None at once if no approval is needed. Fails without a retry where whoever asked for the erasure approves
    it, or nobody answers in time. The task holds no worker slot while it waits.

    Args:
        opened: the result of the task `open`.
    """

    template_fields = ("subject", "body", "opened")

    def __init__(self, *, opened: Any, **kwargs: Any) -> None:
        super().__init__(
            subject="Erase customers?", options=[APPROVE, REJECT], response_timeout=WAIT_FOR_ERASURE, **kwargs
        )
        self.opened = opened

    def execute(self, context: Any) -> Any:
        if not (approval_is_required() or context["params"].get("approval")):
            return None
        with no_retry(NotApproved):
            who = _who_asked(context)
        self.subject = f"Erase {self.opened['customers']} customers?"
        self.body = (
            f"Asked by {who}: {context['params']['why']}\n\nApprove removes them from every place, which cannot be "
            "undone. Reject ends the request; nothing is removed."
        )
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        with no_retry(HITLTimeoutError, NotApproved):
            answer = _said(super().execute_complete(context, event))
            if answer["approved"] and answer["who"] == _who_asked(context):
                raise NotApproved(
                    f"{answer['who']} asked for this erasure: clear the task, and let another user answer"
                )
        return answer


def _who_asked(context: Mapping[str, Any]) -> str:
    """Return the user who started the run.

    Raises:
        NotApproved: Airflow does not know.
    """
    if who := context["dag_run"].triggering_user_name:
        return str(who)
    raise NotApproved("it is not known who started this run: trigger churn_erase as a user of Airflow")


def _said(answer: Mapping[str, Any]) -> dict[str, Any]:
    user = answer["responded_by_user"]
    return {
        "approved": answer["chosen_options"] == [APPROVE],
        "who": (user["name"] or user["id"]) if user else None,
        "at": answer["responded_at"].isoformat(),
        "note": answer["params_input"].get("note") or "",
    }
