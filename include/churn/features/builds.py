"""Builds of the online store: which one is served, and the steps to serve another.

A build is one AS_OF of all feature views, written beside the served one. Steps: begin, fill through Feast, complete,
serve by moving one pointer for all views, clear the other builds. The pointer is stored with the builds: in Postgres
(here) or in Redis (churn.features.redis.builds). `online.builds` in Postgres records all builds, but not which one is
served.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

from psycopg import sql
from psycopg.errors import LockNotAvailable

from churn.features.build import Build, Served
from churn.postgres.database import Connection, execute, one, statement
from churn.settings import redis_url

log = logging.getLogger(__name__)


class Builds(Protocol):
    """The builds of one online store."""

    def served(self) -> Served | None:
        """Return the served build, None if there is none or the store has lost some of it."""

    def begin(self, build: Build) -> None:
        """Prepare the store for a build."""

    def complete(self, build: Build) -> dict[str, int]:
        """Make a filled build ready to be served; return the rows of each view."""

    def serve(self, build: Build, rows: Mapping[str, int]) -> None:
        """Move the pointer to a build, within the caller's transaction.

        Raises:
            IncompleteBuild: the build lost rows, or another one was served since it began.
        """

    def serve_nothing(self, served: Served) -> None:
        """Remove the pointer if it still names this build."""

    def clear(self, views: Iterable[str]) -> None:
        """Delete every build that is not served: the previous one, and those of killed materializations."""


def builds_of(connection: Connection) -> Builds:
    """Return the builds of the configured online store: Redis if CHURN_REDIS_URL is set, else Postgres."""
    if url := redis_url():
        from churn.features.redis.builds import RedisBuilds  # noqa: PLC0415 — needs the library redis

        return RedisBuilds(url, connection)
    return PostgresBuilds(connection)


# --- in Postgres ---------------------------------------------------------------------------------------------------


def table_of(view: str) -> sql.Identifier:
    """Return the table of a view's published builds."""
    return sql.Identifier("online", view)


def build_table_of(view: str, build: int) -> sql.Identifier:
    """Return the table of one build of a view."""
    return sql.Identifier("online", f"{view}_{build}")


class PostgresBuilds:
    """One table per view and build, attached as a partition once complete. The pointer is online.served."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def served(self) -> Served | None:
        # execute() would log the statement, and the board asks every few seconds.
        found = self._connection.execute(statement("online/served")).fetchone()
        return Served(str(found[0]), *found[1:]) if found else None

    def begin(self, build: Build) -> None:
        for view in build.views:
            execute(
                self._connection,
                "online/create_build",
                table=table_of(view),
                build_table=build_table_of(view, build.number),
            )

    def complete(self, build: Build) -> dict[str, int]:
        """Attach the build's tables, which creates their indexes. It commits on its own, before the pointer moves: a
        read planned before the attachment would miss the build."""
        with self._connection.transaction():
            return {view: self._attach(view, build.number) for view in build.views}

    def serve(self, build: Build, rows: Mapping[str, int]) -> None:  # noqa: ARG002 — a table does not lose rows
        # The session lock guarantees that no other build was served meanwhile: losing it closes this connection.
        execute(self._connection, "online/serve", {"build": build.number, "as_of": build.as_of})

    def serve_nothing(self, served: Served) -> None:
        execute(self._connection, "online/serve_no_longer", {"build": int(served.build)})

    def clear(self, views: Iterable[str]) -> None:
        """Drop the other builds. A table under a long read is left to the next run: waiting would block readers."""
        for view in views:
            for (name,) in execute(self._connection, "online/other_builds", {"view": view}).fetchall():
                try:
                    with self._connection.transaction():
                        execute(self._connection, "online/limit_waiting")
                        execute(self._connection, "online/drop_build", build_table=sql.Identifier("online", name))
                except LockNotAvailable:
                    log.warning("online.%s is in use by a long read; the next materialization drops it", name)

    def _attach(self, view: str, build: int) -> int:
        table = build_table_of(view, build)
        execute(
            self._connection, "online/attach_build", table=table_of(view), build_table=table, build=sql.Literal(build)
        )
        execute(self._connection, "partitions/analyze", table=table)
        return one(self._connection, "online/count_rows", build_table=table)[0]
