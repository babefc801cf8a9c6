"""Rollback and release on the embedded stack, by the functions that the DAG churn_rollback calls."""

import getpass

from embedded.commands.in_process import in_stack
from embedded.settings import Settings

WHY = "asked for on the command line"
"""The recorded reason if the user gives none."""


def rollback(settings: Settings, version: int | None, why: str | None) -> str:
    """Move `version` (None: the previous one) to Production, pin it, and return the outcome in words.

    Raises:
        NotDone: there is no such version, or it cannot be served.
        StackError: the stack is down.
    """
    return _act(settings, "rollback", version, why)


def release(settings: Settings, why: str | None) -> str:
    """Remove the pin so that the gate moves Production again, and return the outcome in words.

    Raises:
        NotDone: the pin cannot be read.
        StackError: the stack is down.
    """
    return _act(settings, "release", None, why)


def _act(settings: Settings, action: str, version: int | None, why: str | None) -> str:
    with in_stack(settings) as variables:
        from churn.gate.rollback import release, rollback  # noqa: PLC0415

        who, why, url = getpass.getuser(), why or WHY, variables["CHURN_DATABASE_URL"]
        outcome = release(who, why, url) if action == "release" else rollback(version, who, why, url)
    return f"{outcome.outcome}: {outcome.reason}"
