"""The end of an erasure: what was written meanwhile, and what Postgres keeps of deleted rows on disk."""

import logging

from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from churn.erasure.request import record_place
from churn.erasure.rows import remove, user_tables
from churn.outcome import DONE, Outcome
from churn.postgres.database import Connection, connect, execute
from churn.postgres.personal_data import erasing_personal_data

log = logging.getLogger(__name__)

PLACE = "sweep of the database"
PREDICTIONS = ("predictions", "answered")


def sweep(request: str, users: frozenset[str], database_url: str) -> Outcome:
    """Remove answers that serving logged meanwhile, rewrite the tables that held rows of `users` (VACUUM FULL), also in
    an earlier revision of a drop, and write a checkpoint.

    Readers of a table wait while it is rewritten. The statistics of the catalog, which quote values, and the checkpoint
    need rights that the role of the pipeline may lack; the outcome then says so.
    """
    with erasing_personal_data(database_url):
        with connect(database_url) as connection:
            remove(connection, request, users, [each for each in user_tables(connection) if each == PREDICTIONS])
        with connect(database_url, autocommit=True) as connection:
            leaves = execute(connection, "erasure/held_rows", {"request": request}).fetchall()
            for schema, name in leaves:
                execute(connection, "erasure/vacuum", table=sql.Identifier(schema, name))
            # A partitioned table has statistics of its own.
            for schema, name in user_tables(connection):
                execute(connection, "partitions/analyze", table=sql.Identifier(schema, name))
            refused = [each for each in ("vacuum_statistics", "checkpoint") if not _run_as_owner(connection, each)]
            record_place(connection, request, PLACE, looked_at=len(leaves), rewritten=len(leaves), rows=0)
    left = f"; this role may not {' or '.join(refused)}: an administrator must (docs/erasure.md)" if refused else ""
    return Outcome(DONE, f"{len(leaves)} tables are rewritten{left}", {"tables": len(leaves), "left": refused})


def _run_as_owner(connection: Connection, name: str) -> bool:
    """Run a statement that needs special rights; return False without them."""
    try:
        execute(connection, f"erasure/{name}")
    except InsufficientPrivilege as error:
        log.warning("%s: %s", name, error)
        return False
    return True
