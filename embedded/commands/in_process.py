"""Access to the running stack from this process, without Airflow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from churn.reason import Refused
from embedded.environment import environment
from embedded.settings import Settings
from embedded.stack.process_manager import ProcessManager, StackError


class NotDone(RuntimeError):
    """The command was refused, or a service failed; the message says why."""


@contextmanager
def in_stack(settings: Settings) -> Iterator[dict[str, str]]:
    """Set the variables of the running stack in this process, and yield them.

    MLflow reads them at import: import it, and the modules of churn that do, in the block.

    Raises:
        NotDone: the block raised Refused, or MLflow failed.
        StackError: the stack is down.
    """
    if not ProcessManager(settings).running():
        raise StackError(f"the stack is down (state in {settings.home}); make up starts it")
    variables = environment(settings)
    os.environ.update(variables)
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 — slow, and reads the environment at import

    try:
        yield variables
    except (Refused, MlflowException) as error:
        raise NotDone(str(error)) from error
