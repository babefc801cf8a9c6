"""`python -m containers.airflow.init`: migrates the databases `churn` and `airflow`; sets up pools, admin and roles.

It is idempotent and keeps a changed password. All of Airflow's commands run in one process, as importing Airflow takes
seconds.
"""

import os
from pathlib import Path

from airflow.cli.cli_parser import get_parser

from churn.postgres.migrate import migrate
from churn.registry.provenance import waits_for_upgrade
from embedded.stack import airflow_metadata

POOLS = Path(__file__).parents[2] / "embedded" / "stack" / "pools.json"
ADMIN = {
    "username": "admin",
    "firstname": "First",
    "lastname": "Administrator",
    "email": "admin@localhost",
    "role": "Admin",
}
MORE = {"Plugins": "can_read", "HITL Detail": "menu_access"}
"""Permissions added to FAB's Viewer and User: to see the gate board and links (plugins), and the menu entry Required
Actions."""


def main() -> None:
    applied = migrate(os.environ["CHURN_DATABASE_URL"])
    print(f"churn: applied {len(applied)} migrations", flush=True)  # noqa: T201
    trust_older_versions(os.environ["CHURN_DATABASE_URL"])
    set_up_airflow(os.environ["AIRFLOW_ADMIN_PASSWORD"])


def trust_older_versions(database_url: str) -> None:
    """Record the hashes of the versions from before the upgrade that began to record them, once. Where MLflow is not up
    yet, this fails and the engine starts it again."""
    if not waits_for_upgrade(database_url):
        return
    from churn.registry.trust import adopt  # noqa: PLC0415 — MLflow, which nothing else here needs

    for line in adopt(database_url):
        print(f"churn: {line}", flush=True)  # noqa: T201


def set_up_airflow(password: str) -> None:
    airflow_metadata.main(str(POOLS))
    admin = ADMIN | {"password": password}
    parser = get_parser()
    for command in (
        ["users", "create", *(f"--{name}={value}" for name, value in admin.items())],
        *(
            ["roles", "add-perms", "Viewer", "User", "--resource", resource, "--action", action]
            for resource, action in MORE.items()
        ),
    ):
        arguments = parser.parse_args(command)
        arguments.func(arguments)


if __name__ == "__main__":
    main()
