"""A temporary, migrated database on the server of the database `churn`."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from churn.postgres.database import Connection, connect, execute, lock_session
from churn.postgres.database_url import parts_of, url_on
from churn.postgres.migrate import migrate


@contextmanager
def scratch_database(database_url: str) -> Iterator[str]:
    """Yield the URL of an empty, migrated database on the server of `database_url`, and drop it at the end.

    A session lock allows one at a time; each also drops what killed ones left.

    Raises:
        psycopg.errors.InsufficientPrivilege: the role may not create databases.
    """
    prefix = f"{parts_of(database_url)['dbname']}_reproduce_"
    with connect(database_url, autocommit=True) as connection:
        lock_session(connection, "scratch database")
        for (left,) in execute(connection, "scratch/databases", {"prefix": prefix}).fetchall():
            _drop(connection, left)
        name = prefix + secrets.token_hex(4)
        try:
            execute(connection, "scratch/create_database", database=sql.Identifier(name))
            scratch = url_on(database_url, name)
            migrate(scratch)
            yield scratch
        finally:
            _drop(connection, name)


def _drop(connection: Connection, name: str) -> None:
    execute(connection, "scratch/drop_database", database=sql.Identifier(name))
