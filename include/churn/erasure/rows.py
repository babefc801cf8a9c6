"""Erasure from the database and the online store: the rows of the customers, in every table with a column user_id.

The tables are found in the catalog, so that a new one is not forgotten. Counts and sums that are kept beside the rows
are renewed in the same transaction. Ranks and deciles of a list stay as they were scored: the list has a gap.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import NamedTuple

import pyarrow as pa
from psycopg import sql

from churn.drops.snapshots import DELIVERED_TABLES
from churn.erasure.request import record_place
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.copy import copy_rows
from churn.postgres.database import Connection, connect, execute
from churn.postgres.personal_data import erasing_personal_data
from churn.scores.run import partition_of
from churn.settings import redis_url

TABLE = "table "
"""Beginning of the places that are tables; the name of a table, or of a partition, follows."""
REDIS = "Redis"


class Gone(NamedTuple):
    """The rows removed from one table or partition, of one key: an AS_OF, a build or a revision of a list."""

    table: str
    key: tuple[str, ...]
    rows: int


def erase_rows(request: str, users: frozenset[str], database_url: str) -> Outcome:
    """Remove the rows of `users` from every table of the database `churn`, in one transaction, and from the Redis
    online store if there is one."""
    with erasing_personal_data(database_url):
        with connect(database_url) as connection:
            tables = user_tables(connection)
            gone = remove(connection, request, users, tables)
        in_redis = _erase_redis(request, users, database_url)
    rows = sum(each.rows for each in gone)
    figures = {
        "looked_at": len(tables),
        "rewritten": len({each.table for each in gone}),
        "rows": rows,
        "redis_rows": in_redis,
    }
    if not rows and not in_redis:
        return Outcome(UNCHANGED, f"none of {len(tables)} tables has rows of them", figures)
    return Outcome(DONE, f"{rows} rows are removed from {figures['rewritten']} tables and partitions", figures)


def user_tables(connection: Connection) -> list[tuple[str, str]]:
    """Return (schema, name) of every table with a column user_id; of a partitioned one, the whole."""
    return [(schema, name) for schema, name in execute(connection, "erasure/user_tables")]


def remove(
    connection: Connection, request: str, users: frozenset[str], tables: Sequence[tuple[str, str]]
) -> list[Gone]:
    """Remove the rows of `users` from the tables, renew what counts them, and record the places, in the caller's
    transaction."""
    execute(connection, "erasure/create_users")
    copy_rows(connection, sql.Identifier("erased"), [pa.table({"user_id": pa.array(sorted(users), pa.string())})])
    gone = []
    for schema, table in tables:
        found = [*_remove_from(connection, schema, table)]
        gone += found
        record_place(connection, request, f"{TABLE}{schema}.{table}", looked_at=1, rewritten=0, rows=0)
        for leaf in sorted({each.table for each in found}):
            rows = sum(each.rows for each in found if each.table == leaf)
            record_place(connection, request, f"{TABLE}{leaf}", looked_at=1, rewritten=1, rows=rows)
        _renew_counts(connection, schema, table, found)
    return gone


def _remove_from(connection: Connection, schema: str, table: str) -> Iterator[Gone]:
    key = {
        "snapshots": ("drop_as_of" if table in DELIVERED_TABLES else "as_of",),
        "online": ("build",),
        "scores": ("as_of", "revision"),
    }.get(schema, ())
    columns = sql.SQL(", ").join([sql.SQL("kept.{}::text").format(sql.Identifier(each)) for each in key])
    found = execute(
        connection,
        "erasure/remove",
        table=sql.Identifier(schema, table),
        key=sql.SQL("ARRAY[{}]::text[]").format(columns),
    )
    return (Gone(leaf, tuple(key), rows) for leaf, key, rows in found.fetchall())


def _renew_counts(connection: Connection, schema: str, table: str, gone: Sequence[Gone]) -> None:
    for each in gone:
        if schema == "snapshots":
            values = {"as_of": each.key[0], "table": table, "rows": each.rows}
            execute(connection, "erasure/renew_snapshot_rows", values)
        elif schema == "online":
            execute(connection, "erasure/renew_build_rows", {"build": each.key[0], "view": table, "rows": each.rows})
        elif schema == "scores":
            as_of, revision = each.key
            values = {"as_of": as_of, "revision": revision, "rows": each.rows}
            execute(connection, "erasure/renew_list_rows", values, partition=_partition(as_of, revision))


def _partition(as_of: str, revision: str) -> sql.Identifier:
    return partition_of(date.fromisoformat(as_of), int(revision))


def _erase_redis(request: str, users: frozenset[str], database_url: str) -> int:
    """Remove the customers from every build in Redis; return the removed rows, 0 without a Redis."""
    if not (url := redis_url()):
        return 0
    from churn.features.redis.builds import forget  # noqa: PLC0415 — needs the library redis

    with connect(database_url) as connection:
        builds = execute(connection, "erasure/digests_of_builds").fetchall()
        hashes, rows = forget(url, sorted(users), {str(number): digest for number, digest in builds})
        record_place(connection, request, REDIS, looked_at=hashes, rewritten=hashes if rows else 0, rows=rows)
    return rows
