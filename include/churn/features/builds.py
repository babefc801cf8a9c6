"""Builds of the online store: which is served, and how another comes to be.

A build is one AS_OF of all feature views, beside what is served. It is begun, filled through Feast, completed, and
served by moving one pointer for all views at once; then the others are cleared away. Where the builds are, the pointer
is: in Postgres (here) or in Redis (churn.features.redis.builds). `online.builds` in Postgres is the record of all of
them, and never says what is served.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from psycopg import sql
from psycopg.errors import LockNotAvailable

from churn.postgres.database import Connection, execute, statement
from churn.settings import redis_url

log = logging.getLogger(__name__)


class IncompleteBuild(RuntimeError):
    """A build that does not hold the rows of its snapshot, or came too late; it is not served."""


@dataclass(frozen=True)
class Served:
    """The build that is served: its name, its AS_OF, what it was made from and by, and how many rows each view has."""

    build: str
    as_of: date
    drop_digest: str
    code_digest: str
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Build:
    """A build that is being written.

    Attributes:
        number, begun_at: of its row in online.builds.
        views: {feature view: {feature: its type in Postgres}}.
        replaces: what was served when it was begun.
    """

    number: int
    begun_at: datetime
    as_of: date
    drop_digest: str
    code_digest: str
    views: Mapping[str, Mapping[str, str]]
    replaces: Served | None


class Builds(Protocol):
    """The builds of one online store."""

    def served(self) -> Served | None:
        """Return what is served; None where nothing is, also where the store has lost some of it."""

    def begin(self, build: Build) -> None:
        """Make room for a build."""

    def complete(self, build: Build) -> dict[str, int]:
        """Make a build that was filled ready to be served; return how many rows each view has."""

    def serve(self, build: Build, rows: Mapping[str, int]) -> None:
        """Move the pointer to a build, within the caller's transaction.

        Raises:
            IncompleteBuild: it lost rows, or another one was served since it was begun.
        """

    def serve_nothing(self, served: Served) -> None:
        """Take the pointer away from this build; where another one is served by now, nothing changes."""

    def clear(self, views: Iterable[str]) -> None:
        """Clear away what is not served: the build before, and what a dead materialization left."""


def builds_of(connection: Connection) -> Builds:
    """Return the builds of the online store that this installation has: Redis where CHURN_REDIS_URL names one, else the
    database of the connection."""
    if url := redis_url():
        from churn.features.redis.builds import RedisBuilds  # noqa: PLC0415 — only who has a Redis needs it

        return RedisBuilds(url, connection)
    return PostgresBuilds(connection)


def build_being_written(connection: Connection, as_of: date) -> tuple[int, datetime]:
    """Return the number of the build that a materialization of `as_of` has begun, and when it has.

    Raises:
        RuntimeError: none has.
    """
    found = execute(connection, "online/build_being_written", {"as_of": as_of}).fetchone()
    if found is None:
        raise RuntimeError(
            f"no build of {as_of} is being written: materialize through churn.features.materialization (or trigger the "
            "DAG churn_materialize), which publishes what it wrote"
        )
    return found[0], found[1]


# --- in Postgres ---------------------------------------------------------------------------------------------------


def table_of(view: str) -> sql.Identifier:
    """Return the name of the table that holds the published builds of a view."""
    return sql.Identifier("online", view)


def build_table_of(view: str, build: int) -> sql.Identifier:
    """Return the name of the table that holds one build of a view."""
    return sql.Identifier("online", f"{view}_{build}")


class PostgresBuilds:
    """A table for each view and build, a partition of the view's from when it is complete; the pointer is
    online.served."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def served(self) -> Served | None:
        # Not by execute(), which writes every statement into the log: the board asks every few seconds.
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
        """Attaching a build makes its index, and no reader waits for it. It is a transaction of its own: a read that
        was planned before it would not find the build that the pointer names."""
        with self._connection.transaction():
            return {view: self._attach(view, build.number) for view in build.views}

    def serve(self, build: Build, rows: Mapping[str, int]) -> None:  # noqa: ARG002 — a table does not lose rows
        # Who is overtaken has lost its lock, and with it this connection.
        execute(self._connection, "online/serve", {"build": build.number, "as_of": build.as_of})

    def serve_nothing(self, served: Served) -> None:
        execute(self._connection, "online/serve_no_longer", {"build": int(served.build)})

    def clear(self, views: Iterable[str]) -> None:
        """A table that somebody reads for long is left to the next materialization: readers of the served build would
        wait with us."""
        for view in views:
            for (name,) in execute(self._connection, "online/other_builds", {"view": view}).fetchall():
                try:
                    with self._connection.transaction():
                        execute(self._connection, "online/limit_waiting")
                        execute(self._connection, "online/drop_build", build_table=sql.Identifier("online", name))
                except LockNotAvailable:
                    log.warning("online.%s is read for long; the next materialization drops it", name)

    def _attach(self, view: str, build: int) -> int:
        table = build_table_of(view, build)
        execute(
            self._connection, "online/attach_build", table=table_of(view), build_table=table, build=sql.Literal(build)
        )
        execute(self._connection, "partitions/analyze", table=table)
        found = execute(self._connection, "online/count_rows", build_table=table).fetchone()
        assert found is not None
        return found[0]
