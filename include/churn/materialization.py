"""materialize: the snapshots of an AS_OF into the online store, served from then on for all feature views at once.

One AS_OF is served, the newest materialized. Materializing an older one is a recorded no-op; a corrected drop of the
served AS_OF replaces it.
"""

import json
import logging
from collections.abc import Sequence
from datetime import date

from feast import FeatureView
from psycopg import sql
from psycopg.errors import LockNotAvailable
from psycopg.rows import TupleRow

from churn.as_of import event_timestamp
from churn.code import code_digest
from churn.database import Connection, connect, execute, lock_session
from churn.features import STORE_LOCK, open_store, views_of
from churn.online_tables import build_table_of, table_of
from churn.outcome import DONE, OLDER, UNCHANGED, Outcome

log = logging.getLogger(__name__)


class NoSnapshot(RuntimeError):
    """There is no snapshot of the AS_OF."""


class IncompleteBuild(RuntimeError):
    """A build that does not hold the rows of its snapshot; it is not served."""


def materialize(as_of: date, database_url: str) -> Outcome:
    """Write a build of `as_of` through Feast and publish it.

    Materializations wait for each other: the lock is held by a connection of its own, and is free again when the
    process dies. What a dead one left behind was never served and is cleared away by the next.

    Raises:
        NoSnapshot: `as_of` has no snapshot.
        IncompleteBuild: Feast wrote fewer rows than the snapshot has, or the snapshot changed meanwhile.
    """
    store = open_store(database_url)
    with connect(database_url, autocommit=True) as connection:
        lock_session(connection, STORE_LOCK)
        snapshot = execute(connection, "snapshots/current_build", {"as_of": as_of}).fetchone()
        if snapshot is None:
            raise NoSnapshot(f"there is no snapshot of {as_of}: run churn_snapshot for it first")
        digest = snapshot[0]
        # Also where nothing is to be written: who published before may have died before it cleared away.
        views = views_of(store)
        _drop_other_builds(connection, views)
        served = execute(connection, "online/served").fetchone()
        if served and served[1] > as_of:
            _begin_build(connection, as_of, digest, "older")
            return Outcome(OLDER, f"{served[1]} is served and is newer than {as_of}", {"served_as_of": str(served[1])})
        if served and served[1:4] == (as_of, digest, code_digest()):
            return Outcome(UNCHANGED, f"{as_of} is served, from this drop and by this code", served[4])
        build = _begin_build(connection, as_of, digest, "writing")
        for view in views:
            execute(
                connection, "online/create_build", table=table_of(view.name), build_table=build_table_of(view, build)
            )
        instant = event_timestamp(as_of)
        store.materialize(instant, instant, feature_views=[view.name for view in views])
        rows = _publish(connection, views, build, as_of, snapshot)
        _drop_other_builds(connection, views)
    return Outcome(DONE, f"{as_of} is served", rows)


def _begin_build(connection: Connection, as_of: date, digest: str, state: str) -> int:
    values = {"as_of": as_of, "drop_digest": digest, "code_digest": code_digest(), "state": state}
    found = execute(connection, "online/begin_build", values).fetchone()
    assert found is not None
    return found[0]


def _publish(
    connection: Connection, views: Sequence[FeatureView], build: int, as_of: date, snapshot: TupleRow
) -> dict[str, int]:
    """Move the pointer to the build when every view holds what its source holds, and return the rows of each view.

    Attaching a build makes its index, and no reader waits for it. It is a transaction of its own: a read that was
    planned before it would not find the build that the pointer names.
    """
    with connection.transaction():
        rows = {view.name: _attach(connection, view, build) for view in views}
    with connection.transaction():
        now = execute(connection, "snapshots/current_build", {"as_of": as_of}).fetchone()
        if now is None or now[:2] != snapshot[:2]:
            raise IncompleteBuild(
                f"the snapshots of {as_of} were rebuilt while they were written online, which may mix both: what "
                "was served before is still served; run the task again"
            )
        for view in views:
            assert view.batch_source is not None
            expected = snapshot[2][view.batch_source.name]
            if rows[view.name] != expected:
                raise IncompleteBuild(
                    f"{view.name} has {rows[view.name]} rows of {as_of} and its snapshot {expected}: what was served "
                    "before is still served; run the task again"
                )
        execute(connection, "online/serve", {"build": build, "as_of": as_of})
        execute(connection, "online/mark_published", {"build": build, "rows": json.dumps(rows)})
    return rows


def _attach(connection: Connection, view: FeatureView, build: int) -> int:
    build_table = build_table_of(view, build)
    execute(
        connection, "online/attach_build", table=table_of(view.name), build_table=build_table, build=sql.Literal(build)
    )
    execute(connection, "partitions/analyze", table=build_table)
    found = execute(connection, "online/count_rows", build_table=build_table).fetchone()
    assert found is not None
    return found[0]


def _drop_other_builds(connection: Connection, views: Sequence[FeatureView]) -> None:
    """Drop what is not served. A table that somebody reads for long is left to the next materialization: readers of the
    served build would wait with us."""
    for view in views:
        for (name,) in execute(connection, "online/other_builds", {"view": view.name}).fetchall():
            try:
                with connection.transaction():
                    execute(connection, "online/limit_waiting")
                    execute(connection, "online/drop_build", build_table=sql.Identifier("online", name))
            except LockNotAvailable:
                log.warning("online.%s is read for long; the next materialization drops it", name)
    execute(connection, "online/discard_unpublished")
