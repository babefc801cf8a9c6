"""The deadline: every drop that was received has been decided on some hours later.

What is looked at are drops and what came of them, not runs: a drop that never arrived, or that nothing was started for,
has no run that could be late. A date without a drop has no deadline, as it has no snapshot, unless the house says how
often drops come. One that has nothing to learn from yet is done when its features are online.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from churn.database import Connection, connect, execute
from churn.landing import Drop, is_complete, list_drops
from churn.outcome import DONE, Outcome
from churn.watch import find_pending

GRACE = timedelta(hours=2)
"""How long a drop may wait for its decision: the chain takes minutes, also with a million customers, and some drops may
come at once."""

TOLD_FOR = timedelta(days=7)
"""How long a drop without a decision is told of: what nobody mends in a week is known, and a daily alert that is always
the same hides the next one. `make doctor` goes on saying it."""

NEXT = {
    "incomplete": "a required file is missing, or one that manifest.json names: have the drop sent again, whole",
    "landed": "it is not loaded: look at the runs of churn_snapshot for this AS_OF, and at the log of churn_landing",
    "loaded": "it has no snapshot: look at the runs of churn_snapshot for this AS_OF",
    "snapshotted": "its features are not online: look at the runs of churn_materialize for this AS_OF",
    "materialized": "no candidate was trained: look at the runs of churn_train for this AS_OF",
    "trained": "the gate has not decided: look at the runs of churn_train for this AS_OF",
}
"""What to do, by how far a drop has come. Running its AS_OF again goes on from there."""


class DeadlineMissed(RuntimeError):
    """AS_OFs that have no decision in time; the message says of each how far it has come, and what to do."""


@dataclass(frozen=True)
class Late:
    """An AS_OF without a decision: how far its drop has come (a key of NEXT), and when it was received."""

    as_of: date
    state: str
    since: datetime

    def __str__(self) -> str:
        return f"{self.as_of} is {self.state} since {self.since:%Y-%m-%d %H:%M} UTC, and {NEXT[self.state]}"


def check_deadline(
    landing: Path, database_url: str, *, every_days: int | None = None, now: datetime | None = None
) -> Outcome:
    """Check that every drop received between a week and two hours ago has its decision.

    Args:
        every_days: a drop is expected at least every so many days; None where nobody promised any.
        now: the instant to check for, aware; None is now.

    Raises:
        DeadlineMissed: some have none, or the newest drop is too old.
        mlflow.exceptions.MlflowException: MLflow cannot be asked; it is where a correction may have changed nothing.
    """
    now = now or datetime.now(UTC)
    late = find_late(landing, database_url, now - TOLD_FOR, now - GRACE)
    missed = [str(each) for each in late]
    if every_days and (missing := _too_old(landing, database_url, every_days, now.astimezone(UTC).date())):
        missed.append(missing)
    if missed:
        raise DeadlineMissed("; ".join(missed))
    return Outcome(DONE, f"every drop received until {now - GRACE:%Y-%m-%d %H:%M} UTC is decided on")


def find_late(landing: Path, database_url: str, since: datetime, until: datetime) -> list[Late]:
    """Return the AS_OFs whose drop was received between two instants and that have no decision, oldest first.

    A drop that was changed since it was loaded is there as what it is now: landed.
    """
    late = {each.as_of: each for each in _late_in_database(database_url, since, until)}
    late |= {each.as_of: each for each in _late_in_landing(landing, database_url) if since <= each.since <= until}
    return [late[as_of] for as_of in sorted(late)]


def _late_in_landing(landing: Path, database_url: str) -> Iterator[Late]:
    with connect(database_url) as connection:
        loaded = {row[0] for row in execute(connection, "loading/loaded_drops")}
    waiting = {pending.as_of for pending in find_pending(landing, database_url)}
    for drop in list_drops(landing):
        if drop.as_of in waiting:
            yield Late(drop.as_of, "landed", _landed_at(drop))
        elif drop.as_of not in loaded and not is_complete(drop):
            yield Late(drop.as_of, "incomplete", _landed_at(drop))


def _landed_at(drop: Drop) -> datetime:
    # Renamed into place, its directory was changed last; a copy brings no time of change of status along.
    newest = max(path.stat().st_ctime for path in (drop.path, *drop.files()))
    return datetime.fromtimestamp(newest, UTC)


def _late_in_database(database_url: str, since: datetime, until: datetime) -> Iterator[Late]:
    with connect(database_url) as connection:
        received = execute(connection, "deadline/received", {"since": since, "until": until}).fetchall()
        for as_of, received_at, is_snapshotted, is_materialized, is_decided in received:
            # From its end: retention takes snapshots away, and what was decided on stays so.
            if is_decided:
                continue
            if is_materialized:
                state = _trained_state(connection, as_of)
            else:
                state = "snapshotted" if is_snapshotted else "loaded"
            if state:
                yield Late(as_of, state, received_at)


def _trained_state(connection: Connection, as_of: date) -> str | None:
    """Return how far the training at `as_of` has come; None where there is nothing to learn from, or where a version of
    these drops was decided on before: a correction that changes no row of a training set brings no new decision."""
    from mlflow import MlflowClient  # noqa: PLC0415 — seconds, and hardly ever needed

    from churn.registry import find_versions  # noqa: PLC0415
    from churn.superseded import DROPS, to_tag  # noqa: PLC0415
    from churn.training_set import drops_of  # noqa: PLC0415

    drops = drops_of(connection, [as_of])[as_of]
    if not drops:
        return None
    versions = find_versions(MlflowClient(), {"as_of": as_of.isoformat()})
    trained = {each.version for each in versions if each.tags.get(DROPS) == to_tag(drops)}
    decided = {version for (version,) in execute(connection, "deadline/decided_versions", {"as_of": as_of})}
    if trained & decided:
        return None
    return "trained" if trained else "materialized"


def _too_old(landing: Path, database_url: str, every_days: int, today: date) -> str | None:
    with connect(database_url) as connection:
        loaded = execute(connection, "gate/newest_drop").fetchone()
    there = [drop.as_of for drop in list_drops(landing) if is_complete(drop)]
    newest = max([*there, *([loaded[0]] if loaded and loaded[0] else [])], default=None)
    if newest and (today - newest).days <= every_days:
        return None
    what = f"the newest drop is of {newest}" if newest else "there is no drop"
    return f"{what}, and one is expected every {every_days} days: ask whoever sends them"
