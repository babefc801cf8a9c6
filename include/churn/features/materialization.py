"""materialize: write the snapshots of an AS_OF to the online store and serve them, for all feature views at once.

The newest materialized AS_OF is served. Materializing an older one is a recorded no-op, but for a served build of other
code, which is written again. A corrected drop of the served AS_OF replaces it. If the served AS_OF is withdrawn, the
newest remaining one is served.
"""

import hashlib
import json
import logging
from datetime import date, datetime

from feast import FeatureStore, FeatureView
from psycopg.rows import TupleRow

from churn.as_of import event_timestamp
from churn.code import step_digest
from churn.features.build import Build, IncompleteBuild, Served
from churn.features.builds import Builds, builds_of
from churn.features.column_types import columns_of
from churn.features.store import STORE_LOCK, open_store, views_of
from churn.outcome import DONE, OLDER, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute, lock_session, one
from churn.postgres.personal_data import writing_personal_data

log = logging.getLogger(__name__)


class NoSnapshot(RuntimeError):
    """There is no snapshot of the AS_OF."""


def materialize(as_of: date, database_url: str) -> Outcome:
    """Write a build of `as_of` through Feast and publish it.

    Materializations run one at a time, under a session lock that is released when the process dies. The next run clears
    the unserved build of a killed one. If the store lost its served build (a restarted Redis), it is written again
    first.

    Raises:
        NoSnapshot: `as_of` has no snapshot.
        IncompleteBuild: Feast wrote fewer rows than the snapshot has, or the snapshot changed meanwhile.
    """
    store = open_store(database_url)
    with writing_personal_data(database_url), connect(database_url, autocommit=True) as connection:
        lock_session(connection, STORE_LOCK)
        snapshot = _snapshot_of(connection, as_of)
        builds, views = builds_of(connection), views_of(store)
        # Also when nothing is to be written: a killed run may have published without clearing.
        _clear(connection, builds, views)
        served = builds.served()
        newer, why = _newer_to_write(connection, served, as_of)
        if newer:
            log.warning("AS_OF %s is written again: %s", newer, why)
            _write_and_publish(connection, store, builds, newer, served)
            _clear(connection, builds, views)
            served, why = builds.served(), f", and was written again: {why}"
        if served and served.as_of > as_of and not _was_withdrawn(connection, served):
            _begin_build(connection, as_of, snapshot, "older")
            reason = f"{served.as_of} is served and is newer than {as_of}{why}"
            return Outcome(OLDER, reason, {"served_as_of": str(served.as_of)})
        asked = (as_of, snapshot[0], _code_of(snapshot))
        if served and (served.as_of, served.drop_digest, served.code_digest) == asked:
            return Outcome(UNCHANGED, f"{as_of} is served, from this drop and by this code", served.rows)
        rows = _write_and_publish(connection, store, builds, as_of, served)
        _clear(connection, builds, views)
    return Outcome(DONE, f"{as_of} is served", rows)


def _snapshot_of(connection: Connection, as_of: date) -> TupleRow:
    snapshot = execute(connection, "snapshots/current_build", {"as_of": as_of}).fetchone()
    if snapshot is None:
        raise NoSnapshot(f"there is no snapshot of {as_of}: run churn_snapshot for it first")
    return snapshot


def _code_of(snapshot: TupleRow) -> str:
    """Return the sha256 over the code that an online copy depends on: the snapshot's code digest and this step's."""
    return hashlib.sha256(f"{snapshot[1]} {step_digest(__package__)}".encode()).hexdigest()


def _newer_to_write(connection: Connection, served: Served | None, as_of: date) -> tuple[date | None, str]:
    """Return the AS_OF that must be written before `as_of`, which is older, and why; None if there is none.

    A backfill does not replace a newer AS_OF that was lost or withdrawn, nor leave one that other code wrote.
    """
    if served is None or _was_withdrawn(connection, served):
        newest, why = _newest_left(connection)[0], "what was served is lost or was withdrawn"
    else:
        newest = served.as_of if is_of_other_code(connection, served) else None
        why = "other code had written it"
    return (newest, why) if newest and newest > as_of else (None, "")


def is_of_other_code(connection: Connection, served: Served) -> bool:
    """Tell whether other code wrote the served build, and its snapshot is there to write it again.

    Such a build may lack a feature of this code, and a column that a build lacks reads as NULL.
    """
    snapshot = execute(connection, "snapshots/current_build", {"as_of": served.as_of}).fetchone()
    return snapshot is not None and served.code_digest != _code_of(snapshot)


def serve_what_is_left(database_url: str) -> Outcome:
    """If the served AS_OF was withdrawn, serve the newest remaining materialized one, or nothing.

    An AS_OF whose snapshots were deleted by retention is skipped; the outcome names it.

    Raises:
        IncompleteBuild: as materialize(); the withdrawn AS_OF is served until this is run again.
    """
    store = open_store(database_url)
    with writing_personal_data(database_url), connect(database_url, autocommit=True) as connection:
        lock_session(connection, STORE_LOCK)
        builds, views = builds_of(connection), views_of(store)
        _clear(connection, builds, views)
        served = builds.served()
        if served is None or not _was_withdrawn(connection, served):
            return Outcome(UNCHANGED, f"{served.as_of if served else 'nothing'} is served, which was not withdrawn")
        newest, expired = _newest_left(connection)
        if newest is None:
            builds.serve_nothing(served)
        else:
            _write_and_publish(connection, store, builds, newest, served)
        # A run killed after publishing left this record to _clear().
        execute(connection, "withdrawal/mark_online_builds", {"as_of": served.as_of})
        _clear(connection, builds, views)
    reason = f"{newest or 'nothing'} is served in place of {served.as_of}, which was withdrawn"
    if expired:
        dates = ", ".join(map(str, expired))
        reason += f"; passed over, because retention removed their snapshots: {dates}; to serve one, run it again"
    return Outcome(DONE, reason, {"served_as_of": str(newest) if newest else None})


def _was_withdrawn(connection: Connection, served: Served) -> bool:
    # Only a withdrawal deletes this record; retention keeps it.
    return execute(connection, "snapshots/any_build", {"as_of": served.as_of}).fetchone() is None


def _newest_left(connection: Connection) -> tuple[date | None, list[date]]:
    """Return the newest materialized AS_OF that still has its snapshot, and the newer ones without it."""
    expired: list[date] = []
    for as_of, is_expired in execute(connection, "online/materialized"):
        if not is_expired:
            return as_of, expired
        expired.append(as_of)
    return None, expired


def _write_and_publish(
    connection: Connection, store: FeatureStore, builds: Builds, as_of: date, served: Served | None
) -> dict[str, int]:
    """Write a build and serve it; return the rows of each view."""
    snapshot, views = _snapshot_of(connection, as_of), views_of(store)
    build = Build(
        *_begin_build(connection, as_of, snapshot, "writing"),
        as_of=as_of,
        drop_digest=snapshot[0],
        code_digest=_code_of(snapshot),
        views={view.name: columns_of(view) for view in views},
        replaces=served,
    )
    builds.begin(build)
    instant = event_timestamp(as_of)
    store.materialize(instant, instant, feature_views=[*build.views])
    return _publish(connection, builds, build, views, snapshot)


def _begin_build(connection: Connection, as_of: date, snapshot: TupleRow, state: str) -> tuple[int, datetime]:
    values = {"as_of": as_of, "drop_digest": snapshot[0], "code_digest": _code_of(snapshot), "state": state}
    number, started_at = one(connection, "online/begin_build", values)
    return number, started_at


def _publish(
    connection: Connection, builds: Builds, build: Build, views: list[FeatureView], snapshot: TupleRow
) -> dict[str, int]:
    """Serve the build if every view has all rows of its source; return the rows of each view."""
    rows = builds.complete(build)
    as_of = build.as_of
    with connection.transaction():
        now = execute(connection, "snapshots/current_build", {"as_of": as_of}).fetchone()
        if now is None or now[:2] != snapshot[:2]:
            raise IncompleteBuild(
                f"the snapshots of {as_of} were rebuilt while they were written online, which may mix both: the "
                "previous build is still served; run the task again"
            )
        for view in views:
            assert view.batch_source is not None
            expected = snapshot[2][view.batch_source.name]
            if rows[view.name] != expected:
                raise IncompleteBuild(
                    f"{view.name} has {rows[view.name]} rows of {as_of} and its snapshot {expected}: the previous "
                    "build is still served; run the task again"
                )
        builds.serve(build, rows)
        execute(
            connection,
            "online/mark_published",
            {"build": build.number, "begun_at": build.begun_at, "rows": json.dumps(rows)},
        )
    return rows


def _clear(connection: Connection, builds: Builds, views: list[FeatureView]) -> None:
    builds.clear([view.name for view in views])
    execute(connection, "online/discard_unpublished")
