"""The history of stage Production (gate.moves), and the pin that a rollback sets.

A move is recorded after it happened; a process killed in between completes the record on its next run. The pin is a tag
of the registered model in MLflow.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from churn.gate import approval
from churn.gate.identity import Held, bound, held
from churn.postgres.database import Connection, execute, try_lock_session
from churn.reason import Refused
from churn.registry import client as registry
from churn.registry.client import is_missing
from churn.registry.model_version import MODEL_NAME, ModelVersion

PIN = "gate.pin"
"""The tag of the registered model; its value is JSON."""

PROMOTION = "promotion"
PERSON = "person"
ROLLBACK = "rollback"
RELEASE = "release"

PROMOTE_LOCK = "promote"
"""Session lock for moving Production."""

PROMOTING = "gate.promoting"
"""Tag that a promotion sets before it moves Production. A version without it was moved by a person."""

GATE = "gate"
"""`who` of a promotion without approval."""
BY_HAND = "unknown: moved in MLflow"
"""`who` of a move by hand: MLflow does not record the user."""


class PinUnreadable(Refused):
    """The tag was edited by hand and cannot be parsed; Production does not move until it is deleted."""


@dataclass(frozen=True)
class Pin:
    """Production is pinned to `version` until it is released. `at` is the database's time in ISO format."""

    version: int
    who: str
    why: str
    at: str

    def __str__(self) -> str:
        return (
            f"Production is pinned to version {self.version} by {self.who} since {self.at[:16]} ({self.why}); "
            "to release it: make release, or DAG churn_rollback with action release"
        )


def pin(client: MlflowClient) -> Pin | None:
    """Return the pin of Production, None if it is not pinned.

    Raises:
        PinUnreadable: the tag cannot be parsed.
    """
    try:
        value = client.get_registered_model(MODEL_NAME).tags.get(PIN)
    except MlflowException as error:
        if is_missing(error):
            return None
        raise
    if value is None:
        return None
    try:
        return Pin(**json.loads(value))
    except (TypeError, ValueError) as error:
        raise PinUnreadable(f"tag {PIN} of {MODEL_NAME} is no pin: {value!r}; delete it in MLflow") from error


def set_pin(client: MlflowClient, pinned: Pin) -> None:
    """Pin Production."""
    client.set_registered_model_tag(MODEL_NAME, PIN, json.dumps(asdict(pinned)))


def remove_pin(client: MlflowClient) -> None:
    """Remove the pin."""
    client.delete_registered_model_tag(MODEL_NAME, PIN)


def append(
    connection: Connection, kind: str, moved: ModelVersion | None, who: str, why: str, *, superior: bool = False
) -> None:
    """Add a move to the history; the previous version is that of the last move."""
    row = {"kind": kind, **bound(moved), "who": who, "why": why, "superior": superior}
    execute(connection, "gate/append_move", row)


def newest(connection: Connection) -> Held | None:
    """Return the version of the last move, None if Production was emptied or never moved; a release does not count."""
    row = execute(connection, "gate/newest_move").fetchone()
    return held(*row) if row else None


def made_since(connection: Connection, kind: str, version: int | None, since: str) -> bool:
    """Tell whether such a move is recorded since that instant."""
    row = execute(connection, "gate/move_since", {"kind": kind, "version": version, "since": since}).fetchone()
    return row is not None


def anchor(connection: Connection) -> Held | None:
    """Return the anchor: the last version that a person put into Production, by hand or by a rollback, or that was
    promoted as superior. None if there is none, or if a person emptied Production."""
    row = execute(connection, "gate/anchor").fetchone()
    return held(*row) if row else None


def notice(connection: Connection, client: MlflowClient) -> None:
    """Record a move by hand if no recorded move explains the version in Production.

    A killed promotion or rollback also explains it, and completes its own record later. While another process moves
    Production, nothing is recorded.

    Args:
        connection: in autocommit, because of calls to MLflow. It holds PROMOTE_LOCK until it is closed.
    """
    if not try_lock_session(connection, PROMOTE_LOCK):
        return
    production = registry.production(client)
    if not _accounted(connection, production):
        what = f"version {production.version}" if production else "nothing"
        why = f"stage Production holds {what}; no recorded move put it there"
        append(connection, PERSON, production, BY_HAND, why)


def settle(connection: Connection, client: MlflowClient, production: ModelVersion | None) -> None:
    """Complete the history before a move: record a killed promotion or a move by hand. The caller holds
    PROMOTE_LOCK."""
    if production and not _recorded(connection, production) and not _rolling_back(connection, production.version):
        row = _unrecorded_promotion(connection, production)
        if row:
            reason, superior = row
            approved = approval.from_tags(production.tags)
            who, why = (approved.who or GATE, approved.consent(reason)) if approved else (GATE, reason)
            append(connection, PROMOTION, production, who, why, superior=superior)
            return
    notice(connection, client)


def led_by_gate(connection: Connection, since: Held | None, current: Held | None) -> bool:
    """Tell whether only promotions led from version `since` to `current`."""
    for kind, version, run_id, *previous in execute(connection, "gate/moves_back"):
        if kind != PROMOTION or not _same(held(version, run_id), current):
            return False
        current = held(*previous)
        if _same(current, since):
            return True
    return False


def _accounted(connection: Connection, production: ModelVersion | None) -> bool:
    if _recorded(connection, production):
        return True
    if production is None:
        return False
    promoted = _unrecorded_promotion(connection, production)
    return promoted is not None or _rolling_back(connection, production.version)


def _unrecorded_promotion(connection: Connection, production: ModelVersion) -> tuple[str, bool] | None:
    """Return reason and superior of a promotion that started and is not recorded yet."""
    if PROMOTING not in production.tags:
        return None
    return execute(connection, "gate/unrecorded_promotion", bound(production)).fetchone()


def _recorded(connection: Connection, found: ModelVersion | None) -> bool:
    return _same(newest(connection), found)


def _rolling_back(connection: Connection, found: int | None) -> bool:
    """Tell whether a rollback to that version has set the pin and is not recorded yet."""
    pinned = pin(MlflowClient())
    return bool(pinned and pinned.version == found and not made_since(connection, ROLLBACK, found, pinned.at))


def before(connection: Connection) -> list[Held]:
    """Return the versions in Production before the current one, latest first."""
    path = _path(held(*each) for each in execute(connection, "gate/moved_to").fetchall())
    return path[:-1][::-1] if newest(connection) else path[::-1]


def promoted(connection: Connection) -> list[Held]:
    """Return the versions that Production held, in order, without those that a person rolled back or took away."""
    path: list[Held] = []
    for each in execute(connection, "gate/moved_to"):
        moved = held(*each)
        path = _path([*path, moved]) if moved else path[:-1]
    return path


def _path(moved_to: Iterable[Held | None]) -> list[Held]:
    """Return the versions that lead to the current one. A rollback removes the versions after its target, so that two
    rollbacks in a row do not end where the first began."""
    path: list[Held] = []
    for moved in moved_to:
        if moved is None:
            continue
        known = [place for place, each in enumerate(path) if each.same(moved)]
        # The newer row may have the run id that the older one lacks.
        path[known[-1] if known else len(path) :] = [moved]
    return path


def _same(one: Held | None, other: Held | ModelVersion | None) -> bool:
    return other is None if one is None else one.same(other)
