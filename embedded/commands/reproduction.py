"""`make reproduce`: trains a model version again from the archive and compares it."""

from embedded.commands.chain import Say
from embedded.commands.in_process import enter_stack
from embedded.settings import Settings


class ReproductionError(RuntimeError):
    """The version cannot be reproduced; the message says why."""


def reproduce(settings: Settings, version: int, say: Say) -> bool:
    """Train the version again from the archive, print the comparison, and return whether it is equal.

    Raises:
        ReproductionError: there is no such version, it has no lineage, or MLflow does not answer.
        StackError: the stack is down.
    """
    variables = enter_stack(settings)
    say(f"version {version}: reading its lineage")
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 — slow, and reads the environment at import

    from churn.reproduction.reproduce import NotReproducible, reproduce  # noqa: PLC0415

    try:
        made = reproduce(version, variables["CHURN_DATABASE_URL"], settings.archive, say)
    except (NotReproducible, MlflowException) as error:
        raise ReproductionError(str(error)) from error
    print(f"\n{made}", flush=True)  # noqa: T201
    return made.equal
