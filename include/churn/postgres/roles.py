"""The databases `churn`, `airflow` and `mlflow` of a server, and a least-privilege role for each part of the system.

| role | may |
| --- | --- |
| churn_pipeline | own `churn`: run migrations, read and write as tasks do. It creates no roles or databases |
| churn_serving | connect to `churn`, with the rights of include/sql/serving_role.sql |
| mlflow, airflow | own the database of its name |

Only these roles and administrators may connect to the three databases. None of the four may connect to the
administrator's database or to template1. Run it as `python -m churn.postgres.roles`, with the administrator's libpq URI
in POSTGRES_ADMIN_URL and the passwords in PIPELINE_DB_PASSWORD, SERVING_DB_PASSWORD, MLFLOW_DB_PASSWORD and
AIRFLOW_DB_PASSWORD. It is idempotent; every run sets the passwords again.
"""

import os
import sys
from collections.abc import Mapping

from psycopg import sql

from churn.postgres.database import Connection, connect, execute, lock, statement

PIPELINE = "churn_pipeline"
SERVING = "churn_serving"
OWNERS = {"churn": PIPELINE, "airflow": "airflow", "mlflow": "mlflow"}
"""The owner of each database."""

PASSWORDS = {
    PIPELINE: "PIPELINE_DB_PASSWORD",
    SERVING: "SERVING_DB_PASSWORD",
    "mlflow": "MLFLOW_DB_PASSWORD",
    "airflow": "AIRFLOW_DB_PASSWORD",
}
"""The environment variable with the password of each role."""


def set_up(admin_url: str, passwords: Mapping[str, str]) -> list[str]:
    """Create the missing roles and databases, revoke public access, and set the passwords.

    Args:
        admin_url: the libpq URI of any database of the server, as a superuser.
        passwords: the password of each role of PASSWORDS.

    Returns:
        The names of the roles and databases that this call created.

    Raises:
        psycopg.errors.InsufficientPrivilege: the user of `admin_url` may not make roles or databases.
    """
    with connect(admin_url) as connection:
        lock(connection, "roles")
        made = [role for role in PASSWORDS if _make_role(connection, role, passwords[role])]
    with connect(admin_url, autocommit=True) as connection:
        for database, owner in OWNERS.items():
            name, role = sql.Identifier(database), sql.Identifier(owner)
            if not execute(connection, "roles/database_exists", {"database": database}).fetchone():
                execute(connection, "roles/create_database", database=name, role=role)
                made.append(database)
            execute(connection, "roles/close_database", database=name)
        # These two as well: a role could fill the disk with temporary tables there.
        for other in (connection.info.dbname, "template1"):
            execute(connection, "roles/close_database", database=sql.Identifier(other))
        execute(connection, "roles/admit", database=sql.Identifier("churn"), role=sql.Identifier(SERVING))
    return made


def _make_role(connection: Connection, role: str, password: str) -> bool:
    new = not execute(connection, "roles/exists", {"role": role}).fetchone()
    if new:
        execute(connection, "roles/create", role=sql.Identifier(role))
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    # execute() would log the statement.
    query = sql.SQL(statement("roles/set_password"))
    connection.execute(query.format(role=sql.Identifier(role), verifier=sql.Literal(verifier)))
    return new


def main() -> None:
    missing = [name for name in ("POSTGRES_ADMIN_URL", *PASSWORDS.values()) if not os.environ.get(name)]
    if missing:
        sys.exit(f"not set: {', '.join(missing)}; see the top of {__file__}")
    made = set_up(os.environ["POSTGRES_ADMIN_URL"], {role: os.environ[name] for role, name in PASSWORDS.items()})
    sys.stdout.write("".join(f"made {name}\n" for name in made) + "passwords are set\n")


if __name__ == "__main__":
    main()
