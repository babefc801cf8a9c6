"""The history of stage Production, gate.moves, and the pin that a rollback leaves.

A move is recorded after it was made, so that the history never tells of one that did not happen; whoever made it and
died before the record finishes it when run again. The pin is a tag of the registered model in MLflow, beside the stage
that it protects.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from churn.gate import approval
from churn.gate.identity import Held, bound, held
from churn.postgres.database import Connection, execute, try_lock_session
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
"""Who moves Production holds it, for the session."""

PROMOTING = "gate.promoting"
"""The tag of a version that a promotion sets before it moves Production: without it, a person did."""

GATE = "gate"
"""Who promoted, where nobody was asked."""
BY_HAND = "unknown: moved in MLflow"
"""Who moved, where MLflow does not say."""


class PinUnreadable(RuntimeError):
    """Somebody wrote the tag by hand. Until it is deleted nothing moves."""


@dataclass(frozen=True)
class Pin:
    """Production stays at `version` until it is released. `at` is an instant of the database's clock, in ISO."""

    version: int
    who: str
    why: str
    at: str

    def __str__(self) -> str:
        return (
            f"Production is pinned to version {self.version} by {self.who} since {self.at[:16]} ({self.why}); "
            "to release it: make release, or DAG churn_rollback with action release"
        )


@dataclass(frozen=True)
class Move:
    """A row of gate.moves: which version Production holds from then on."""

    kind: str
    held: Held | None
    moved_at: datetime


def pin(client: MlflowClient) -> Pin | None:
    """Return the pin of Production, None where it is free.

    Raises:
        PinUnreadable: the tag is there and is no pin.
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
    """Free Production again."""
    client.delete_registered_model_tag(MODEL_NAME, PIN)


def append(
    connection: Connection, kind: str, moved: ModelVersion | None, who: str, why: str, *, superior: bool = False
) -> None:
    """Add a move to the history; what it moved Production away from is what the history says last."""
    row = {"kind": kind, **bound(moved), "who": who, "why": why, "superior": superior}
    execute(connection, "gate/append_move", row)


def newest(connection: Connection) -> Move | None:
    """Return the last move, which a release is not."""
    row = execute(connection, "gate/newest_move").fetchone()
    return Move(row[0], held(row[1], row[2]), row[3]) if row else None


def made_since(connection: Connection, kind: str, version: int | None, since: str) -> bool:
    """Tell whether such a move is on record since that instant."""
    row = execute(connection, "gate/move_since", {"kind": kind, "version": version, "since": since}).fetchone()
    return row is not None


def anchor(connection: Connection) -> Held | None:
    """Return the version that a chain of promotions is held against: the newest that a person put into Production, by
    hand or by a rollback, or that was promoted as superior. None before the first, or where a person took all out."""
    row = execute(connection, "gate/anchor").fetchone()
    return held(*row) if row else None


def notice(connection: Connection, client: MlflowClient) -> None:
    """Put on record that a person moved Production by hand, where no other move accounts for what it holds.

    A promotion or a rollback that was killed before its own record accounts for it: that one finishes its record. While
    one is under way, nothing is looked at: what it leaves is noticed another time.

    Args:
        connection: in autocommit, since MLflow is asked meanwhile. It holds PROMOTE_LOCK until it is closed.
    """
    if not try_lock_session(connection, PROMOTE_LOCK):
        return
    production = registry.production(client)
    if not _accounted(connection, production):
        what = f"version {production.version}" if production else "nothing"
        why = f"stage Production holds {what}; no recorded move put it there"
        append(connection, PERSON, production, BY_HAND, why)


def settle(connection: Connection, client: MlflowClient, production: ModelVersion | None) -> None:
    """Bring the history up to what Production holds, for one that is about to move it and lets nobody else do so: a
    promotion that was killed before its record gets it, a person's move is noticed."""
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
    """Tell whether promotions alone led from version `since` to `current`, no person's move among them."""
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
    """Return reason and superior of a promotion that began, and is not on record yet."""
    if PROMOTING not in production.tags:
        return None
    return execute(connection, "gate/unrecorded_promotion", bound(production)).fetchone()


def _recorded(connection: Connection, found: ModelVersion | None) -> bool:
    last = newest(connection)
    return _same(last.held if last else None, found)


def _rolling_back(connection: Connection, found: int | None) -> bool:
    """Tell whether a rollback to that version has pinned it and has not put itself on record yet."""
    pinned = pin(MlflowClient())
    return bool(pinned and pinned.version == found and not made_since(connection, ROLLBACK, found, pinned.at))


def before(connection: Connection) -> list[Held]:
    """Return the versions that Production held before what it holds now, the latest first."""
    row = newest(connection)
    path = _path(held(*each) for each in execute(connection, "gate/moved_to").fetchall())
    return path[:-1][::-1] if row and row.held is not None else path[::-1]


def _path(moved_to: Iterable[Held | None]) -> list[Held]:
    """Return the versions that lead to the present one: going back to one forgets those that came after it, so that
    two rollbacks in a row do not end where the first began."""
    path: list[Held] = []
    for moved in moved_to:
        if moved is None:
            continue
        known = [place for place, each in enumerate(path) if each.same(moved)]
        # The newer row may know the run where the older one does not.
        path[known[-1] if known else len(path) :] = [moved]
    return path


def _same(one: Held | None, other: Held | ModelVersion | None) -> bool:
    return other is None if one is None else one.same(other)
