"""The database `churn`: connections, and the statements in include/sql/.

include/sql/ has one file for each subject. In it each statement stands below a line `-- name: …`: `snapshots/delete` is
the statement `delete` of include/sql/snapshots.sql. Values are bound as `%(name)s`. Where the name of a table or a
column varies, the statement has a `{placeholder}` and the caller gives a psycopg.sql object, which quotes it.
"""

import logging
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from churn.postgres.database_url import parts_of

log = logging.getLogger(__name__)

SQL_DIRECTORY = Path(__file__).parents[2] / "sql"

SHOWN_VALUES = 20
"""Longest list parameter that is logged in full."""

SESSION = "-c timezone=UTC -c work_mem=128MB -c maintenance_work_mem=256MB -c jit=off"
"""UTC, because dates are cast to instants in the session's time zone. work_mem: sorts and hashes of a million customers
stay in memory. JIT compilation takes longer than these queries run."""

Connection = psycopg.Connection[TupleRow]
Cursor = psycopg.Cursor[TupleRow]


def connect(database_url: str, *, autocommit: bool = False) -> Connection:
    """Open a connection whose time zone is UTC.

    As a context manager it commits at the end, rolls back when the block raises, and closes.

    Args:
        database_url: a libpq URI.

    Raises:
        BadDatabaseUrl: `database_url` is not a libpq URI.
        psycopg.OperationalError: the server refuses, or does not answer within 10 seconds.
    """
    parts_of(database_url)
    return psycopg.connect(
        database_url,
        autocommit=autocommit,
        connect_timeout=10,
        options=SESSION,
        application_name="churn",
    )


def script(name: str) -> LiteralString:
    """Return the text of include/sql/`name`.sql, a file that is run whole: a migration, or the rights of a role."""
    return (SQL_DIRECTORY / f"{name}.sql").read_text(encoding="utf-8").strip()


@cache
def statements(subject: str) -> dict[str, LiteralString]:
    """Return the statements of include/sql/`subject`.sql by their names.

    Raises:
        ValueError: two statements have the same name.
    """
    _, *parts = re.split(r"^-- name: (\w+)\n", script(subject), flags=re.MULTILINE)
    names, texts = parts[::2], parts[1::2]
    if len(set(names)) < len(names):
        raise ValueError(f"include/sql/{subject}.sql gives one name to two statements")
    return {name: text.strip() for name, text in zip(names, texts, strict=True)}


def statement(name: str) -> LiteralString:
    """Return the text of the statement `name`, given as `subject/name`."""
    subject, _, its_name = name.partition("/")
    return statements(subject)[its_name]


def compose(name: str, **identifiers: sql.Composable) -> sql.SQL | sql.Composed:
    """Return the statement `name` with its `{placeholder}`s filled in."""
    return sql.SQL(statement(name)).format(**identifiers) if identifiers else sql.SQL(statement(name))


def execute(
    connection: Connection,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    **identifiers: sql.Composable,
) -> Cursor:
    """Run the statement `name`. Log its text and row count, for the task's log in Airflow.

    Args:
        parameters: values for `%(name)s`, bound by the server.
        identifiers: values for `{placeholder}`, inserted as quoted SQL.
    """
    query = compose(name, **identifiers)
    cursor = connection.execute(query, parameters)
    log.info(
        "%s: %s, %d rows\n%s\n%s",
        name,
        cursor.statusmessage,
        cursor.rowcount,
        query.as_string(connection),
        {name: _short(value) for name, value in (parameters or {}).items()},
    )
    return cursor


def one(
    connection: Connection, name: str, parameters: Mapping[str, Any] | None = None, **identifiers: sql.Composable
) -> TupleRow:
    """Run a statement that always gives a row, as execute() does, and return its first row."""
    row = execute(connection, name, parameters, **identifiers).fetchone()
    assert row is not None, f"{name} gives a row"
    return row


def _short(value: Any) -> Any:
    """Return a parameter as it is logged: a long list as its length."""
    return f"{len(value)} values" if isinstance(value, list) and len(value) > SHOWN_VALUES else value


def lock(connection: Connection, *names: str) -> None:
    """Wait for the exclusive advisory lock called `names`, held until the transaction ends."""
    connection.execute(statement("lock/wait"), {"name": "/".join(("churn", *names))})


def lock_session(connection: Connection, *names: str) -> None:
    """Wait for the exclusive advisory lock called `names`, held until the connection closes or its process dies."""
    connection.execute(statement("lock/wait_for_session"), {"name": "/".join(("churn", *names))})


def lock_session_shared(connection: Connection, *names: str) -> None:
    """Wait for the lock of lock_session(), shared with others who call this, until the connection closes."""
    connection.execute(statement("lock/wait_for_session_shared"), {"name": "/".join(("churn", *names))})


def try_lock_session(connection: Connection, *names: str) -> bool:
    """Take the lock of lock_session() if it is free; return whether it was taken."""
    found = connection.execute(statement("lock/try_for_session"), {"name": "/".join(("churn", *names))}).fetchone()
    return bool(found and found[0])
