"""withdraw: take a drop back; the system then holds what it would hold had the drop never come.

This module deletes the data in one transaction. churn.features.materialization serves the newest AS_OF that is left,
and churn.training.superseded tags the model versions. All three are idempotent; a rerun finishes a killed withdrawal.
"""

from datetime import date, datetime

from psycopg import sql

from churn.drops.contract import FILES
from churn.drops.snapshots import DELIVERED_TABLES, FEATURE_TABLES
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute, lock, one
from churn.reason import Refused, stated


class WithdrawalRefused(Refused):
    """The withdrawal lacks a name or a reason, or the reason is too long; nothing was removed."""


def withdraw(as_of: date, who: str, why: str, database_url: str, asked_at: datetime | None = None) -> Outcome:
    """Remove all revisions of the drop of `as_of` from raw.* and snapshots.*, and record who withdrew it and why.

    One transaction. The archive keeps the files, and raw.revisions keeps the revisions, marked as withdrawn. Any date
    can be withdrawn, also a future one. UNCHANGED if no drop of `as_of` is loaded.

    Args:
        asked_at: when the withdrawal was asked for (aware). A drop that was validated later stays: UNCHANGED.

    Raises:
        WithdrawalRefused: `who` or `why` is empty, or `why` is too long.
    """
    who, why = stated(who, why, WithdrawalRefused)
    with connect(database_url) as connection:
        lock(connection, "as_of", as_of.isoformat())
        loaded = execute(connection, "loading/current_revision", {"as_of": as_of}).fetchone()
        if loaded is None:
            return Outcome(UNCHANGED, _why_nothing(connection, as_of))
        validated_at = loaded[3]
        if asked_at and validated_at > asked_at:
            when = f"{validated_at:%Y-%m-%d %H:%M} UTC, after this was asked for"
            return Outcome(UNCHANGED, f"the drop of {as_of} that is loaded came at {when}: ask again to withdraw it")
        revisions = _record(connection, as_of, who, why)
        rows = _delete(connection, as_of)
    return Outcome(
        DONE,
        f"the drop of {as_of} was withdrawn; it is not loaded again until its content changes or a newer _ACCEPT says "
        "why: remove its directory from the landing directory",
        {"revisions": revisions, "rows": rows},
    )


def is_withdrawn(connection: Connection, as_of: date) -> bool:
    """Tell whether the drop of `as_of` was withdrawn and none has been loaded since."""
    return any(withdrawn == as_of for withdrawn, *_ in execute(connection, "withdrawal/withdrawn"))


def _why_nothing(connection: Connection, as_of: date) -> str:
    last = execute(connection, "withdrawal/last", {"as_of": as_of}).fetchone()
    if last is None:
        return f"no drop of {as_of} is loaded; if one lies in the landing directory, remove it there"
    return f"the drop of {as_of} was withdrawn on {last[0]:%Y-%m-%d %H:%M} UTC by {last[1]}: {last[2]}"


def _record(connection: Connection, as_of: date, who: str, why: str) -> int:
    """Return the number of withdrawn revisions."""
    when = {"as_of": as_of, "withdrawn_at": one(connection, "withdrawal/instant")[0]}
    execute(connection, "withdrawal/record", {**when, "who": who, "why": why})
    return execute(connection, "withdrawal/mark_revisions", when).rowcount


def _delete(connection: Connection, as_of: date) -> dict[str, int]:
    """Return the number of deleted rows by table."""
    this = {"as_of": as_of}
    rows = {
        f"raw.{file.table}": execute(
            connection, "loading/delete", this, table=sql.Identifier("raw", file.table)
        ).rowcount
        for file in FILES
    }
    for table in FEATURE_TABLES:
        name = sql.Identifier("snapshots", table)
        rows[f"snapshots.{table}"] = execute(connection, "withdrawal/delete_features", this, table=name).rowcount
    for table in DELIVERED_TABLES:
        name, of_drop = sql.Identifier("snapshots", table), {"drop_as_of": as_of}
        rows[f"snapshots.{table}"] = execute(connection, "snapshots/delete_delivered", of_drop, table=name).rowcount
    for statement in ("delete_build", "delete_hold", "mark_online_builds"):
        execute(connection, f"withdrawal/{statement}", this)
    return {table: count for table, count in rows.items() if count}
