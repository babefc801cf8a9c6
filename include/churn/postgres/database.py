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
"""How many values of one parameter a log shows."""

SESSION = "-c timezone=UTC -c work_mem=128MB -c maintenance_work_mem=256MB -c jit=off"
"""Time zone UTC, whatever the server's: a date is cast to an instant in it. Memory to sort and to hash a million
customers in. Compiling a plan takes longer than running ours."""

Connection = psycopg.Connection[TupleRow]
Cursor = psycopg.Cursor[TupleRow]


def connect(database_url: str, *, autocommit: bool = False) -> Connection:
    """Open a connection to the database at `database_url` (a libpq URI), its time zone UTC.

    Used as a context manager it commits at the end, or rolls back where the block raised, and closes.

    Raises:
        BadDatabaseUrl: it is no such URI.
        psycopg.OperationalError: the server cannot be reached within 10 seconds or refuses.
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
        ValueError: two have one name.
    """
    _, *parts = re.split(r"^-- name: (\w+)\n", script(subject), flags=re.MULTILINE)
    names, texts = parts[::2], parts[1::2]
    if len(set(names)) < len(names):
        raise ValueError(f"include/sql/{subject}.sql gives one name to two statements")
    return {name: text.strip() for name, text in zip(names, texts, strict=True)}


def statement(name: str) -> LiteralString:
    """Return the text of the statement `name`, `subject/name`."""
    subject, _, its_name = name.partition("/")
    return statements(subject)[its_name]


def compose(name: str, **identifiers: sql.Composable) -> sql.SQL | sql.Composed:
    """Return the statement `name` with what stands for each `{placeholder}` in it."""
    return sql.SQL(statement(name)).format(**identifiers) if identifiers else sql.SQL(statement(name))


def execute(
    connection: Connection,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    **identifiers: sql.Composable,
) -> Cursor:
    """Run the statement `name` and log its text with the rows it touched, so that a task's log shows what it did.

    Args:
        parameters: values for `%(name)s`, bound by the server.
        identifiers: what stands for each `{placeholder}` of the statement.
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


def _short(value: Any) -> Any:
    """Return what a log says of a parameter: of many customers, how many."""
    return f"{len(value)} values" if isinstance(value, list) and len(value) > SHOWN_VALUES else value


def lock(connection: Connection, *names: str) -> None:
    """Wait for the exclusive advisory lock called `names`, held until the transaction ends."""
    connection.execute(statement("lock/wait"), {"name": "/".join(("churn", *names))})


def lock_session(connection: Connection, *names: str) -> None:
    """Wait for the exclusive advisory lock called `names`, held until the connection closes or its process dies."""
    connection.execute(statement("lock/wait_for_session"), {"name": "/".join(("churn", *names))})


def try_lock_session(connection: Connection, *names: str) -> bool:
    """Take that lock if nobody else holds it; tell whether it was taken."""
    found = connection.execute(statement("lock/try_for_session"), {"name": "/".join(("churn", *names))}).fetchone()
    return bool(found and found[0])
