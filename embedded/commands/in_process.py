"""Access to the running stack from this process, without Airflow."""

import os

from embedded.environment import environment
from embedded.settings import Settings
from embedded.stack.process_manager import ProcessManager, StackError


def enter_stack(settings: Settings) -> dict[str, str]:
    """Set the variables of the running stack in this process, and return them.

    MLflow reads them at import: import it, and the modules of churn that do, afterwards.

    Raises:
        StackError: the stack is down.
    """
    if not ProcessManager(settings).running():
        raise StackError(f"the stack is down (state in {settings.home}); make up starts it")
    variables = environment(settings)
    os.environ.update(variables, MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false")
    return variables
