"""Migrations of the database `churn`: include/sql/migrations/*.sql, each applied once, in the order of their names.

Run it as `python -m churn.postgres.migrate`, with CHURN_DATABASE_URL in the environment. It is idempotent, and
concurrent runs wait for each other.
"""

import hashlib
import logging
import sys

from psycopg.errors import UndefinedTable

from churn.postgres.database import SQL_DIRECTORY, Connection, connect, execute, lock, script
from churn.postgres.database_url import ask_for_url

log = logging.getLogger(__name__)


class MigrationError(RuntimeError):
    """The applied migrations differ from the migration files."""


def migrate(database_url: str) -> list[str]:
    """Apply the missing migrations in one transaction and return their names.

    Raises:
        MigrationError: an applied migration was changed in include/sql/migrations/, or is missing there.
    """
    with connect(database_url) as connection:
        lock(connection, "migrate")
        execute(connection, "migrate/create_table")
        if new := _apply_missing(connection):
            _grant(connection)
        return new


def find_missing(database_url: str) -> list[str]:
    """Return the names of the migrations that migrate() would apply. Nothing is changed.

    Raises:
        MigrationError: as migrate().
    """
    try:
        with connect(database_url) as connection:
            return _missing(connection)
    except UndefinedTable:
        return list(known_migrations())


def known_migrations() -> dict[str, str]:
    """Return the migrations of this checkout, in their order: {name: sha256}."""
    files = sorted((SQL_DIRECTORY / "migrations").glob("*.sql"))
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def applied_migrations(connection: Connection) -> dict[str, str]:
    """Return the migrations that were applied to the database: {name: sha256}."""
    return dict(execute(connection, "migrate/applied").fetchall())


def grant(database_url: str) -> None:
    """Create the roles and grant their rights. A restored database needs this: roles belong to the server."""
    with connect(database_url) as connection:
        _grant(connection)


def _missing(connection: Connection) -> list[str]:
    known, applied = known_migrations(), applied_migrations(connection)
    for name, sha256 in applied.items():
        if known.get(name) != sha256:
            raise MigrationError(
                f"migration {name} was applied to this database with different content (sha256 {sha256[:12]}…): "
                "check out the version that wrote it, or put the change into a new migration"
            )
    return [name for name in known if name not in applied]


def _apply_missing(connection: Connection) -> list[str]:
    known, new = known_migrations(), _missing(connection)
    for name in new:
        connection.execute(script(f"migrations/{name}"))
        execute(connection, "migrate/record", {"name": name, "sha256": known[name]})
        log.info("applied migration %s", name)
    return new


def _grant(connection: Connection) -> None:
    """Create the role of the serving API and grant its rights, after every change of the schema.

    A user who may not create roles gets a warning that points to include/sql/serving_role.sql.
    """
    connection.add_notice_handler(lambda notice: log.warning("%s", notice.message_primary))
    connection.execute(script("serving_role"))


def main() -> None:
    database_url = ask_for_url("python -m churn.postgres.migrate", __doc__)
    applied = migrate(database_url)
    sys.stdout.write("".join(f"applied {name}\n" for name in applied) or "up to date\n")


if __name__ == "__main__":
    main()
