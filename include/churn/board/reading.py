"""Reads of a page: one consistent view of the database, not logged, because pages poll."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from psycopg import IsolationLevel, sql
from psycopg.rows import class_row

from churn.postgres.database import Connection, compose, connect

Row = TypeVar("Row")


@contextmanager
def reading(database_url: str) -> Iterator[Connection]:
    """Open a read-only connection whose statements all see the same state.

    Raises:
        psycopg.Error: the database cannot be reached.
    """
    with connect(database_url) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection


def rows_of(
    connection: Connection,
    kind: type[Row],
    name: str,
    parameters: Mapping[str, Any] | None = None,
    **identifiers: sql.Composable,
) -> list[Row]:
    """Return the rows of the statement `name`, each as a `kind` whose fields are its columns."""
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(compose(name, **identifiers), parameters).fetchall()
