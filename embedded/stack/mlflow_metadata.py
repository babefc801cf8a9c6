"""`python -m embedded.stack.mlflow_metadata`: make MLflow's tables in the database at MLFLOW_BACKEND_STORE_URI, or
bring those of an older version up to date, which the server itself refuses to do.

As `mlflow db upgrade` does, on whose command line everybody could read the password.
"""

import os

from mlflow.db import commands


def main() -> None:
    """Run `mlflow db upgrade`; it changes nothing that is done already."""
    commands.main(["upgrade", os.environ["MLFLOW_BACKEND_STORE_URI"]], standalone_mode=False)


if __name__ == "__main__":
    main()
