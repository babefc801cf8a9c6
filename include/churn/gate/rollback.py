"""rollback: put an earlier version back into Production, and pin it there until release.

The pin is set first, so that no promotion interferes; then stage Production, alias champion and the record in
gate.moves follow. If it is killed in between, another run completes the missing steps only.
"""

import logging

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from churn.gate import moves
from churn.gate.identity import Held
from churn.gate.moves import Pin
from churn.gate.promotion import move_champion
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, lock_session, one
from churn.reason import Refused, stated
from churn.registry import client as registry
from churn.registry.client import is_missing
from churn.registry.loading import load_pipeline
from churn.registry.model_version import MODEL_NAME, PRODUCTION, ModelNotLoadable

log = logging.getLogger(__name__)


class RollbackRefused(Refused):
    """The rollback is not possible; nothing was moved."""


def rollback(version: int | None, who: str, why: str, database_url: str) -> Outcome:
    """Move Production to `version` and pin it there; None: to the last earlier version that can still be loaded.

    While Production is pinned, None means the pinned version, so that a killed rollback is completed and a repeated one
    does not go back twice.

    Raises:
        RollbackRefused: the version does not exist or cannot be served, there is no earlier one, or `why` is empty.
    """
    who, why = stated(who, why, RollbackRefused)
    client = MlflowClient()
    with connect(database_url, autocommit=True) as connection:
        # Shared with promote, so that only one of them moves Production.
        lock_session(connection, moves.PROMOTE_LOCK)
        current = registry.production(client)
        moves.settle(connection, client, current)
        pinned = moves.pin(client)
        target = version or (pinned.version if pinned else _previous(connection, database_url))
        if problem := _problem(client, target, database_url):
            raise RollbackRefused(f"version {target} cannot be brought back: {problem}; nothing was moved")
        figures = {"version": target, "previous_version": current.version if current else None}
        version_there = registry.get_version(client, target)
        moved = current is None or current.version != target
        recorded = bool(pinned and moves.made_since(connection, moves.ROLLBACK, target, pinned.at))
        if pinned and pinned.version == target and recorded and not moved:
            move_champion(client, target)
            return Outcome(UNCHANGED, f"{pinned}; to go back further, name the version", figures)
        if not pinned or pinned.version != target or recorded:
            # The pin of a killed rollback keeps its own reason.
            pinned = Pin(target, who, why, _now(connection))
            moves.set_pin(client, pinned)
        if moved:
            # Archive the current version: of two in Production, MLflow returns the higher number.
            client.transition_model_version_stage(MODEL_NAME, str(target), PRODUCTION, archive_existing_versions=True)
        move_champion(client, target)
        moves.append(connection, moves.ROLLBACK, version_there, pinned.who, pinned.why)
    return Outcome(DONE, f"version {target} is in Production; {pinned}", figures)


def release(who: str, why: str, database_url: str) -> Outcome:
    """Let the gate move Production again. The record is written before the pin is removed, so that after a kill the
    next run completes it.

    Raises:
        RollbackRefused: `why` is empty.
    """
    who, why = stated(who, why, RollbackRefused)
    client = MlflowClient()
    with connect(database_url, autocommit=True) as connection:
        lock_session(connection, moves.PROMOTE_LOCK)
        current = registry.production(client)
        figures = {"version": current.version if current else None}
        pinned = moves.pin(client)
        if pinned is None:
            return Outcome(UNCHANGED, "Production is not pinned", figures)
        moves.settle(connection, client, current)
        if not moves.made_since(connection, moves.RELEASE, figures["version"], pinned.at):
            moves.append(connection, moves.RELEASE, current, who, why)
        moves.remove_pin(client)
    return Outcome(DONE, f"Production is no longer pinned to version {pinned.version}", figures)


def _previous(connection: Connection, database_url: str) -> int:
    """Return the last version before the current one that can be served."""
    client, problems = MlflowClient(), []
    for earlier in moves.before(connection):
        problem = _problem(client, earlier.version, database_url, earlier)
        if problem is None:
            return earlier.version
        problems.append(f"version {earlier.version}: {problem}")
    why = "; ".join(problems) or "the history (gate.moves) knows of none before the current one"
    raise RollbackRefused(f"there is no version to go back to: {why}. Name one: make rollback VERSION=n")


def _problem(client: MlflowClient, version: int, database_url: str, earlier: Held | None = None) -> str | None:
    """Return why this version cannot be served, None if it can.

    Args:
        earlier: the version of that number in the history; None if a person named it.
    """
    try:
        found = registry.get_version(client, version)
        if earlier and not earlier.same(found):
            return f"the history means run {earlier.run_id}, but the number now belongs to run {found.run_id or 'none'}"
        found.as_of, found.threshold, found.feature_service  # noqa: B018 — raises if unreadable
        load_pipeline(version, database_url)
    except (ModelNotLoadable, ValueError) as error:
        return str(error)
    except MlflowException as error:
        if is_missing(error):
            return f"{MODEL_NAME} has no such version"
        raise
    return None


def _now(connection: Connection) -> str:
    """Return the time of the database, as in gate.moves."""
    return one(connection, "gate/clock")[0].isoformat()
