"""Rollback and release on the embedded stack, by the functions that the DAG churn_rollback calls."""

import getpass

from embedded.commands.in_process import enter_stack
from embedded.settings import Settings

WHY = "asked for on the command line"
"""The recorded reason if the user gives none."""


class NotMoved(RuntimeError):
    """Production was not moved; the message says why."""


def rollback(settings: Settings, version: int | None, why: str | None) -> str:
    """Move `version` (None: the previous one) to Production, pin it, and return the outcome in words.

    Raises:
        NotMoved: there is no such version, or it cannot be served.
        StackError: the stack is down.
    """
    return _act(settings, "rollback", version, why)


def release(settings: Settings, why: str | None) -> str:
    """Remove the pin so that the gate moves Production again, and return the outcome in words.

    Raises:
        NotMoved: the pin cannot be read.
        StackError: the stack is down.
    """
    return _act(settings, "release", None, why)


def _act(settings: Settings, action: str, version: int | None, why: str | None) -> str:
    variables = enter_stack(settings)
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 — slow, and reads the environment at import

    from churn.gate.moves import PinUnreadable  # noqa: PLC0415
    from churn.gate.rollback import RollbackRefused, release, rollback  # noqa: PLC0415

    who, why, url = getpass.getuser(), why or WHY, variables["CHURN_DATABASE_URL"]
    try:
        outcome = release(who, why, url) if action == "release" else rollback(version, who, why, url)
    except (RollbackRefused, PinUnreadable, MlflowException) as error:
        raise NotMoved(str(error)) from error
    return f"{outcome.outcome}: {outcome.reason}"
