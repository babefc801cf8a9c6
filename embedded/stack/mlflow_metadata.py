"""`python -m embedded.stack.mlflow_metadata`: create or migrate MLflow's tables at MLFLOW_BACKEND_STORE_URI.

Replaces `mlflow db upgrade`, whose command line would show the password in the process list.
"""

import os

from mlflow.db import commands


def main() -> None:
    """Run `mlflow db upgrade`, which is idempotent."""
    commands.main(["upgrade", os.environ["MLFLOW_BACKEND_STORE_URI"]], standalone_mode=False)


if __name__ == "__main__":
    main()
