"""Drops that wait: received, and without a decision of the gate, a list of scores or a judgement of their labels.

A drop without a training set yet needs no decision, and one that no version may score needs no list.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

from churn.as_of import today, why_future
from churn.drops.holds.record import Hold, find_holds
from churn.drops.landing import Drop, is_complete, list_drops
from churn.drops.watch import Loaded, find_loaded, is_loaded, pending_of
from churn.postgres.database import Connection, connect, execute
from churn.registry.model_version import ModelVersion
from churn.training.sources import drops_of

log = logging.getLogger(__name__)

NEXT = {
    "after today": "its date is a typo, and it is not loaded: rename its directory; if a drop of that date is "
    "loaded, take it back with make withdraw",
    "incomplete": "a required file is missing, or one that manifest.json names: have the drop sent again, whole",
    "unreadable": "the pipeline's user cannot read the directory or a file that the log names: fix the permissions, "
    "for example with chmod -R a+rX, and churn_landing picks it up",
    "landed": "it is not loaded: look at the runs of churn_snapshot for this AS_OF, and at the log of churn_landing",
    "loaded": "it has no snapshot: look at the runs of churn_snapshot for this AS_OF",
    "snapshotted": "its features are not online: look at the runs of churn_materialize for this AS_OF",
    "materialized": "no candidate was trained: look at the runs of churn_train for this AS_OF",
    "materialized (MLflow cannot be asked)": "it is unknown whether a candidate was trained: check that MLflow runs",
    "trained": "the gate has not decided: look at the runs of churn_train for this AS_OF",
    "decided": "it is not scored: look at the runs of churn_score for this AS_OF",
    "decided (MLflow cannot be asked)": "it is not scored, and it is unknown whether a version may score it: check "
    "that MLflow runs",
    "scored": "it brought labels of a scored date, which are not judged: look at the runs of churn_outcome for this "
    "AS_OF; make doctor names the dates",
}
"""Advice by the last finished step of a drop. Running its AS_OF again resumes from there."""


@dataclass(frozen=True)
class Late:
    """An AS_OF of which a step is missing: the state of its drop (a key of NEXT), and when it was received."""

    as_of: date
    state: str
    since: datetime


def in_words(late: Sequence[Late]) -> str:
    """Return the AS_OFs grouped by state, then the advice for each state."""
    by_state = {state: [each for each in late if each.state == state] for state in NEXT}
    reached = {state: found for state, found in by_state.items() if found}
    dates = [
        f"{state} since {min(each.since for each in found):%Y-%m-%d %H:%M} UTC: "
        + ", ".join(str(each.as_of) for each in found)
        for state, found in reached.items()
    ]
    # The advice comes last, because an alert is truncated at the end.
    return "; ".join([*dates, *(f"{state} means that {NEXT[state]}" for state in reached)])


def find_late(landing: Path, database_url: str, since: datetime, until: datetime) -> list[Late]:
    """Return the AS_OFs whose drop was received between two instants and has no decision, no list or
    unjudged labels, oldest first.

    A drop that changed after loading counts as landed, an unreadable one as unreadable. A held drop is not late: the
    hold was alerted.
    """
    late = {each.as_of: each for each in _late_in_database(database_url, since, until)}
    late |= {each.as_of: each for each in _late_in_landing(landing, database_url) if since <= each.since <= until}
    return [late[as_of] for as_of in sorted(late)]


def _late_in_landing(landing: Path, database_url: str) -> Iterator[Late]:
    loaded, holds = find_loaded(database_url), find_holds(database_url)
    for drop in list_drops(landing):
        try:
            if state := _landed_state(drop, loaded, holds):
                yield Late(drop.as_of, state, _landed_at(drop))
        except FileNotFoundError as error:
            log.info("%s was moved away during the check: %s", drop.path, error)


def _landed_state(drop: Drop, loaded: Loaded, holds: Mapping[date, Hold]) -> str | None:
    if why_future(drop.as_of, today()):
        return "after today"
    try:
        if pending_of(drop, loaded, holds):
            return "landed"
        return "incomplete" if not is_loaded(drop.as_of, loaded) and not is_complete(drop) else None
    except OSError as error:
        log.warning("%s cannot be read: %s", drop.path, error)
        return "unreadable"


def _landed_at(drop: Drop) -> datetime:
    # ctime: a rename into place updates it, and a copy does not preserve it.
    newest = drop.path.stat().st_ctime
    # The files of an unreadable directory are unknown.
    with suppress(OSError):
        newest = max([newest, *(path.stat().st_ctime for path in drop.files())])
    return datetime.fromtimestamp(newest, UTC)


def _late_in_database(database_url: str, since: datetime, until: datetime) -> Iterator[Late]:
    # At most one request, only if needed: an unavailable MLflow takes minutes to time out.
    registered = cache(registered_versions)
    with connect(database_url) as connection:
        received = execute(connection, "deadline/received", {"since": since, "until": until}).fetchall()
        for as_of, received_at, is_snapshotted, is_materialized, is_decided, is_scored, unjudged in received:
            # Decisions first, because retention deletes snapshots.
            if is_decided:
                state = None
            elif is_materialized:
                state = _trained_state(connection, as_of, registered)
            else:
                state = "snapshotted" if is_snapshotted else "loaded"
            if not state and not is_scored:
                state = _decided_state(connection, as_of, registered)
            if not state and unjudged:
                state = _scored_state(set(unjudged), registered)
            if state:
                yield Late(as_of, state, received_at)


def _decided_state(
    connection: Connection, as_of: date, registered: Callable[[], Sequence[ModelVersion] | None]
) -> str | None:
    """Return the state of an AS_OF whose snapshot has no list, None if no version may score it."""
    from churn.scores.registered import choose_registered  # noqa: PLC0415 — a slow import that is rarely needed

    versions = registered()
    if versions is None:
        return "decided (MLflow cannot be asked)"
    return "decided" if choose_registered(connection, versions, as_of).version else None


def _scored_state(scored_by: set[str], registered: Callable[[], Sequence[ModelVersion] | None]) -> str | None:
    """Return the state of labels without a judgement, None if the versions that scored their dates were deleted."""
    versions = registered()
    if versions is None or scored_by & {f"{each.version}/{each.run_id}" for each in versions}:
        return "scored"
    return None


def _trained_state(
    connection: Connection, as_of: date, registered: Callable[[], Sequence[ModelVersion] | None]
) -> str | None:
    """Return the state of the training at `as_of`, None if no decision is due.

    No decision is due without a training set, if a version that it used was decided on (its rows may be those of an
    earlier AS_OF), or if retention deleted the version of the last decision.
    """
    from churn.training.uses import uses_of  # noqa: PLC0415 — a slow import that is rarely needed

    drops = drops_of(connection, [as_of])[as_of]
    if not drops:
        return None
    versions = registered()
    if versions is None:
        return "materialized (MLflow cannot be asked)"
    there = {(each.version, each.run_id) for each in versions}
    used = [uses for each in versions if (uses := uses_of(each)) and as_of in uses.as_ofs]
    # Of the AS_OF's own drop: a correction of an earlier one supersedes its version, and does not make it late.
    trained = {
        (each.version.version, each.version.run_id)
        for each in used
        if each.drops_at(as_of).get(as_of) == drops.get(as_of)
    }
    asked = {"as_of": as_of, "versions": [each for each, _ in trained], "run_ids": [each for _, each in trained]}
    decided = execute(connection, "deadline/decided_versions", asked).fetchall()
    if trained & set(decided) or (decided and decided[-1] not in there):
        return None
    return "trained" if trained else "materialized"


def registered_versions() -> list[ModelVersion] | None:
    """Return every model version, None if MLflow is unavailable."""
    from mlflow import MlflowClient  # noqa: PLC0415
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    from churn.registry.client import find_versions  # noqa: PLC0415

    try:
        return find_versions(MlflowClient(), {})
    except MlflowException as error:
        log.error("MLflow is unavailable, so the versions are unknown: %s", error)
        return None
