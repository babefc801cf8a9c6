"""Making a model version of the embedded stack again, as `make reproduce` does."""

import os

from embedded.commands.chain import Say
from embedded.environment import environment
from embedded.settings import Settings
from embedded.stack.process_manager import ProcessManager, StackError


class ReproductionError(RuntimeError):
    """A version that cannot be made again; the message says why."""


def reproduce(settings: Settings, version: int, say: Say) -> bool:
    """Make the version again from the archive, print what came of it, and return whether it is equal.

    Raises:
        ReproductionError: there is no such version, it keeps no lineage, or MLflow does not answer.
        StackError: the stack is down.
    """
    if not ProcessManager(settings).running():
        raise StackError(f"the stack is down (state in {settings.home}); make up starts it")
    variables = environment(settings)
    # MLflow and its HTTP client read them.
    os.environ.update(variables)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    say(f"version {version}: looking up what it was made of")
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 — seconds, and the environment comes first

    from churn.reproduction.reproduce import NotReproducible, reproduce  # noqa: PLC0415

    try:
        made = reproduce(version, variables["CHURN_DATABASE_URL"], settings.archive, say)
    except (NotReproducible, MlflowException) as error:
        raise ReproductionError(str(error)) from error
    print(f"\n{made}", flush=True)  # noqa: T201
    return made.equal
