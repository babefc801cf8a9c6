"""The deadline: every drop that was received has been decided on some hours later.

What is looked at are drops and what came of them, not runs: a drop that never arrived, or that nothing was started for,
has no run that could be late. A date without a drop has no deadline, as it has no snapshot, unless the house says how
often drops come. One that has nothing to learn from yet is done when its features are online.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

from churn.as_of import today, why_future
from churn.drops.holds.record import Hold, find_holds
from churn.drops.landing import Drop, is_complete, is_readable, list_drops
from churn.drops.watch import Loaded, find_loaded, is_loaded, pending_of
from churn.outcome import DONE, Outcome
from churn.postgres.database import Connection, connect, execute

log = logging.getLogger(__name__)

GRACE = timedelta(hours=2)
"""How long a drop may wait for its decision: the chain takes minutes, also with a million customers, and some drops may
come at once."""

TOLD_FOR = timedelta(days=7)
"""How long a drop without a decision is told of: what nobody mends in a week is known, and a daily alert that is always
the same hides the next one. `make doctor` goes on saying it."""

NEXT = {
    "after today": "its date is a typo, and it is not loaded: rename its directory; where a drop of that date is "
    "loaded, take it back with make withdraw",
    "incomplete": "a required file is missing, or one that manifest.json names: have the drop sent again, whole",
    "unreadable": "the pipeline's user cannot read its directory or a file of it, which the log names: give the right, "
    "as by chmod -R a+rX, and churn_landing picks it up",
    "landed": "it is not loaded: look at the runs of churn_snapshot for this AS_OF, and at the log of churn_landing",
    "loaded": "it has no snapshot: look at the runs of churn_snapshot for this AS_OF",
    "snapshotted": "its features are not online: look at the runs of churn_materialize for this AS_OF",
    "materialized": "no candidate was trained: look at the runs of churn_train for this AS_OF",
    "materialized (MLflow cannot be asked)": "it is not known whether a candidate was trained: see that MLflow answers",
    "trained": "the gate has not decided: look at the runs of churn_train for this AS_OF",
}
"""What to do, by how far a drop has come. Running its AS_OF again goes on from there."""


Numbered = tuple[int, str]
"""A version's number and its run: numbers begin again where the registered model was made again."""


class DeadlineMissed(RuntimeError):
    """AS_OFs that have no decision in time; the message says of each how far it has come, and what to do."""


@dataclass(frozen=True)
class Late:
    """An AS_OF without a decision: how far its drop has come (a key of NEXT), and when it was received."""

    as_of: date
    state: str
    since: datetime


def in_words(late: Sequence[Late]) -> str:
    """Return each AS_OF by how far its drop has come, and then what to do, once for all that have come as far."""
    by_state = {state: [each for each in late if each.state == state] for state in NEXT}
    reached = {state: found for state, found in by_state.items() if found}
    dates = [
        f"{state} since {min(each.since for each in found):%Y-%m-%d %H:%M} UTC: "
        + ", ".join(str(each.as_of) for each in found)
        for state, found in reached.items()
    ]
    # Where there is room for so many characters only, it is the advice that is cut off.
    return "; ".join([*dates, *(f"{state} means that {NEXT[state]}" for state in reached)])


def check_deadline(
    landing: Path, database_url: str, *, every_days: int | None = None, now: datetime | None = None
) -> Outcome:
    """Check that every drop received between a week and two hours ago has its decision.

    Args:
        every_days: a drop is expected at least every so many days; None where nobody promised any.
        now: the instant to check for, aware; None is now.

    Raises:
        DeadlineMissed: some have none, or the newest drop is too old.
    """
    now = now or datetime.now(UTC)
    missing = find_missing(landing, database_url, every_days, now)
    held = ", ".join(str(as_of) for as_of in find_holds(database_url))
    late = find_late(landing, database_url, now - TOLD_FOR, now - GRACE)
    if missing or late:
        raise DeadlineMissed("; ".join(each for each in (missing, in_words(late)) if each))
    but = f", but {held}: held for a person, which was alerted" if held else ""
    return Outcome(DONE, f"every drop received until {now - GRACE:%Y-%m-%d %H:%M} UTC is decided on{but}")


def find_late(landing: Path, database_url: str, since: datetime, until: datetime) -> list[Late]:
    """Return the AS_OFs whose drop was received between two instants and that have no decision, oldest first.

    A drop that was changed since it was loaded is there as what it is now: landed. So is one that cannot be read,
    which may have been: unreadable. It does not hide the others. A held drop is not late: it was alerted when it was
    held.
    """
    late = {each.as_of: each for each in _late_in_database(database_url, since, until)}
    late |= {each.as_of: each for each in _late_in_landing(landing, database_url) if since <= each.since <= until}
    return [late[as_of] for as_of in sorted(late)]


def find_missing(landing: Path, database_url: str, every_days: int | None, now: datetime) -> str | None:
    """Return what is missing where drops are expected at least every so many days (None: nobody promised any), in
    words; None where nothing is."""
    if not every_days:
        return None
    known, day = find_loaded(database_url), now.astimezone(UTC).date()
    loaded = {as_of for as_of in known if is_loaded(as_of, known)}
    # The directory of a drop that was withdrawn may lie there still.
    there = {drop.as_of for drop in list_drops(landing) if drop.as_of not in known and is_readable(drop)}
    newest = max((as_of for as_of in loaded | there if not why_future(as_of, day)), default=None)
    if newest and (day - newest).days <= every_days:
        return None
    what = f"the newest drop is of {newest}" if newest else "there is no drop"
    return f"{what}, and one is expected every {every_days} days: ask whoever sends them"


def _late_in_landing(landing: Path, database_url: str) -> Iterator[Late]:
    loaded, holds = find_loaded(database_url), find_holds(database_url)
    for drop in list_drops(landing):
        try:
            if state := _landed_state(drop, loaded, holds):
                yield Late(drop.as_of, state, _landed_at(drop))
        except FileNotFoundError as error:
            log.info("%s: it was moved away while it was looked at: %s", drop.path, error)


def _landed_state(drop: Drop, loaded: Loaded, holds: Mapping[date, Hold]) -> str | None:
    if why_future(drop.as_of, today()):
        return "after today"
    try:
        if pending_of(drop, loaded, holds):
            return "landed"
        return "incomplete" if not is_loaded(drop.as_of, loaded) and not is_complete(drop) else None
    except OSError as error:
        log.warning("%s: it cannot be read: %s", drop.path, error)
        return "unreadable"


def _landed_at(drop: Drop) -> datetime:
    # Renamed into place, its directory was changed last; a copy brings no time of change of status along.
    newest = drop.path.stat().st_ctime
    # Of a directory that may not be entered, only its own can be known.
    with suppress(OSError):
        newest = max([newest, *(path.stat().st_ctime for path in drop.files())])
    return datetime.fromtimestamp(newest, UTC)


def _late_in_database(database_url: str, since: datetime, until: datetime) -> Iterator[Late]:
    # MLflow is asked once, and hardly ever: one that is away takes minutes to say so.
    registered = cache(_registered)
    with connect(database_url) as connection:
        received = execute(connection, "deadline/received", {"since": since, "until": until}).fetchall()
        for as_of, received_at, is_snapshotted, is_materialized, is_decided in received:
            # From its end: retention takes snapshots away, and what was decided on stays so.
            if is_decided:
                continue
            if is_materialized:
                state = _trained_state(connection, as_of, registered)
            else:
                state = "snapshotted" if is_snapshotted else "loaded"
            if state:
                yield Late(as_of, state, received_at)


def _trained_state(
    connection: Connection, as_of: date, registered: Callable[[], Mapping[Numbered, Mapping[str, str]] | None]
) -> str | None:
    """Return how far the training at `as_of` has come; None where there is nothing to learn from, or where a version of
    these drops was decided on before: a correction that changes no row of a training set brings no new decision. Which
    one that was nobody can tell when retention has removed it: then this is None too."""
    from churn.training.superseded import DROPS, to_tag  # noqa: PLC0415 — seconds, and hardly ever needed
    from churn.training.training_set import drops_of  # noqa: PLC0415

    drops = drops_of(connection, [as_of])[as_of]
    if not drops:
        return None
    versions = registered()
    if versions is None:
        return "materialized (MLflow cannot be asked)"
    there = {version: tags for version, tags in versions.items() if tags.get("as_of") == as_of.isoformat()}
    trained = {version for version, tags in there.items() if tags.get(DROPS) == to_tag(drops)}
    decided = execute(connection, "deadline/decided_versions", {"as_of": as_of}).fetchall()
    if trained & set(decided) or (decided and decided[-1] not in there):
        return None
    return "trained" if trained else "materialized"


def _registered() -> Mapping[Numbered, Mapping[str, str]] | None:
    """Return the tags of every version of the model; None where MLflow cannot be asked."""
    from mlflow import MlflowClient  # noqa: PLC0415
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    from churn.registry.versions import find_versions  # noqa: PLC0415

    try:
        return {(each.version, each.run_id): each.tags for each in find_versions(MlflowClient(), {})}
    except MlflowException as error:
        log.error("MLflow cannot be asked which versions there are: %s", error)
        return None
