"""Brings the databases `churn` and `airflow` up to date, makes the pools, and Airflow's first user.

Everything that is done already stays as it is, the user's password too. One process: each of Airflow's commands alone
would spend seconds on importing Airflow.
"""

import os
from pathlib import Path

from airflow.cli.cli_parser import get_parser

from churn.migrate import migrate

POOLS = Path(__file__).parents[2] / "embedded" / "pools.json"
ADMIN = {
    "username": "admin",
    "firstname": "First",
    "lastname": "Administrator",
    "email": "admin@localhost",
    "role": "Admin",
}


def main() -> None:
    applied = migrate(os.environ["CHURN_DATABASE_URL"])
    print(f"churn: applied {len(applied)} migrations", flush=True)  # noqa: T201
    admin = ADMIN | {"password": os.environ["AIRFLOW_ADMIN_PASSWORD"]}
    parser = get_parser()
    for command in (
        ["db", "migrate"],
        ["pools", "import", str(POOLS)],
        ["users", "create", *(f"--{name}={value}" for name, value in admin.items())],
    ):
        arguments = parser.parse_args(command)
        arguments.func(arguments)


if __name__ == "__main__":
    main()
