"""snapshot: copy raw.* of an AS_OF into the snapshot tables that Feast reads, in one transaction."""

import json
import logging
from datetime import date

from churn.as_of import event_timestamp
from churn.code import step_digest
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute, lock, one
from churn.postgres.partitions import month
from churn.postgres.personal_data import writing_personal_data

log = logging.getLogger(__name__)

FEATURE_TABLES = (
    "subscriptions_profile_snapshots",
    "usage_agg_30d_snapshots",
    "payments_agg_90d_snapshots",
    "support_agg_90d_snapshots",
)
LABELS_TABLE = "labels_snapshots"
ACTIONS_TABLE = "actions_snapshots"
DELIVERED_TABLES = (LABELS_TABLE, ACTIONS_TABLE)
"""The tables of optional files: a row is kept by its own date and by the drop that delivered it, `drop_as_of`."""


class NotLoaded(RuntimeError):
    """No drop of the AS_OF is loaded."""


def build_snapshots(as_of: date, database_url: str) -> Outcome:
    """Rebuild the snapshots of `as_of` from the loaded drop. Readers see the old rows or the new ones.

    UNCHANGED if they were built from the same drop by the same code.

    Raises:
        NotLoaded: raw.* holds no drop of `as_of`, or retention removed it.
    """
    with writing_personal_data(database_url), connect(database_url) as connection:
        lock(connection, "as_of", as_of.isoformat())
        drop = execute(connection, "loading/current_revision", {"as_of": as_of}).fetchone()
        if drop is None:
            raise NotLoaded(f"no drop of {as_of} is loaded: run the task load first")
        digest = drop[1]
        built = execute(connection, "snapshots/current_build", {"as_of": as_of}).fetchone()
        if built and built[:2] == (digest, step_digest(__package__)):
            return Outcome(UNCHANGED, f"the snapshots of {as_of} were built from this drop by this code", built[2])
        if drop[2] is None:
            raise NotLoaded(f"retention removed the drop of {as_of} from raw.*: run the tasks validate and load first")
        rows = {table: _replace(connection, table, as_of) for table in FEATURE_TABLES}
        rows |= {table: _replace_delivered(connection, table, as_of) for table in DELIVERED_TABLES}
        execute(connection, "snapshots/record_build", {
            "as_of": as_of, "drop_digest": digest, "code_digest": step_digest(__package__), "rows": json.dumps(rows),
        })  # fmt: skip
        unmatched = "".join(_why_unmatched(connection, what, as_of) for what in ("labels", "actions"))
    return Outcome(DONE, f"{rows[FEATURE_TABLES[0]]} customers at {as_of}{unmatched}", rows)


def _why_unmatched(connection: Connection, what: str, as_of: date) -> str:
    """Return a warning where later drops brought labels or actions of this date and none matches a customer."""
    instants = {"as_of": as_of, "event_timestamp": event_timestamp(as_of)}
    came, matched = one(connection, f"{what}/matched", instants)
    if matched or not came:
        return ""
    warning = f"none of the {came} {what} that later drops brought for {as_of} matches a customer"
    log.warning("%s: compare how their ids and those of the drop are written", warning)
    return f"; {warning}"


def _replace(connection: Connection, table: str, as_of: date) -> int:
    known_from = event_timestamp(as_of)
    with month(connection, f"snapshots.{table}", known_from.date()) as partition:
        when = {"as_of": as_of, "event_timestamp": known_from}
        execute(connection, "snapshots/delete", when, table=partition)
        return execute(connection, f"snapshots/{table}", when, table=partition).rowcount


def _replace_delivered(connection: Connection, table: str, drop_as_of: date) -> int:
    with month(connection, f"snapshots.{table}", drop_as_of) as partition:
        execute(connection, "snapshots/delete_delivered", {"drop_as_of": drop_as_of}, table=partition)
        return execute(connection, f"snapshots/{table}", {"drop_as_of": drop_as_of}, table=partition).rowcount
