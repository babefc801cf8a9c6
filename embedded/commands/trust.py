"""make trust: record the hashes of a version that was registered by hand."""

import getpass

from embedded.commands.in_process import enter_stack
from embedded.settings import Settings


class NotTrusted(RuntimeError):
    """Nothing was recorded; the message says why."""


def trust(settings: Settings, version: int, why: str) -> str:
    """Record the hashes of the version's files, so that serving and the gate load it, and return the outcome.

    Raises:
        NotTrusted: there is no such version, it cannot be loaded, or MLflow does not answer.
        StackError: the stack is down.
    """
    variables = enter_stack(settings)
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 — seconds, and the environment comes first

    from churn.registry.trust import TrustRefused, trust  # noqa: PLC0415

    try:
        outcome = trust(version, getpass.getuser(), why, variables["CHURN_DATABASE_URL"])
    except (TrustRefused, MlflowException) as error:
        raise NotTrusted(str(error)) from error
    return f"{outcome.outcome}: {outcome.reason}"
