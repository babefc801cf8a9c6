"""make trust: record the hashes of a version that was registered by hand."""

import getpass

from embedded.commands.in_process import in_stack
from embedded.settings import Settings


def trust(settings: Settings, version: int, why: str) -> str:
    """Record the hashes of the version's files, so that serving and the gate load it, and return the outcome.

    Raises:
        NotDone: there is no such version, it cannot be loaded, or MLflow does not answer.
        StackError: the stack is down.
    """
    with in_stack(settings) as variables:
        from churn.registry.trust import trust  # noqa: PLC0415

        outcome = trust(version, getpass.getuser(), why, variables["CHURN_DATABASE_URL"])
    return f"{outcome.outcome}: {outcome.reason}"
