"""Reads what was found: the findings of an AS_OF, what drifts now, and the alert where a drift begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg.rows import class_row

from churn.postgres.database import Connection, compose

QUIET_DAYS = 7
"""A column that was flagged in so many days before, or at the AS_OF before, is not alerted again: a drift near the
limit is flagged on some nights only."""

SHOWN = 10
"""Columns in the text of an alert."""


@dataclass(frozen=True)
class Row:
    """A row of drift.columns; the migrations 0014_drift and 0016_drift_distributions describe the columns."""

    as_of: date
    revision: int
    model_version: int | None
    model_run_id: str | None
    reference: str
    reference_as_of: date | None
    column_name: str
    rows: int
    reference_rows: int
    finding: str
    flagged: bool
    effect: float | None
    effect_limit: float
    test: str | None
    statistic: float | None
    p_value: float | None
    detail: str
    inputs_digest: str
    known_at: datetime
    distribution: Mapping[str, Any] | None


@dataclass(frozen=True)
class Alert:
    """What is sent where columns begin to drift."""

    title: str
    body: str


def findings(connection: Connection, as_of: date) -> list[Row]:
    """Return the newest findings of an AS_OF, the flagged ones first; none of a withdrawn AS_OF."""
    return _read(connection, "findings", {"as_of": as_of})


def drifted_now(connection: Connection) -> list[Row]:
    """Return the flagged findings of the newest AS_OF that was compared."""
    return _read(connection, "drifted_now", {})


def drifted_columns(connection: Connection) -> dict[str, int]:
    """Return {reference: flagged columns} of the newest AS_OF that was compared."""
    return dict(connection.execute(compose("drift/drifted_columns")).fetchall())


def newest_compared(connection: Connection) -> date | None:
    """Return the newest AS_OF that was compared, None if none was."""
    found = connection.execute(compose("drift/compared")).fetchone()
    return found[0] if found else None


def drift_in_words(compared: date | None, drifted: Sequence[Row]) -> str:
    """Return which columns of the newest compared AS_OF drift.

    Args:
        drifted: see drifted_now().
    """
    if compared is None:
        return "no AS_OF was compared yet"
    names = sorted({row.column_name for row in drifted})
    return f"{', '.join(names)} of {compared} drifted" if names else f"no column of {compared} drifted"


def began(connection: Connection, as_of: date) -> list[Row]:
    """Return the flagged findings of the columns that begin to drift at `as_of`."""
    return _read(connection, "began", {"as_of": as_of, "days": QUIET_DAYS})


def alert_of(connection: Connection, as_of: date) -> Alert | None:
    """Return the alert where columns begin to drift at `as_of`, None where none does."""
    rows = began(connection, as_of)
    if not rows:
        return None
    of = {row.column_name: [each for each in rows if each.column_name == row.column_name] for row in rows}
    names = [*of]
    what = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more columns"
    lines = [f"- {name}: {'; '.join(f'{each.finding}: {each.detail}' for each in of[name])}" for name in names[:SHOWN]]
    if len(names) > SHOWN:
        lines.append(f"- and {len(names) - SHOWN} more")
    version = rows[0].model_version
    goes_on = f"Version {version} goes on scoring. " if version else ""
    return Alert(
        title=f"{what} began to drift at {as_of}",
        body="\n".join([
            f"At AS_OF {as_of} these columns began to differ from their reference:",
            *lines,
            f"{goes_on}No drop is held, and a drift that lasts is not alerted again.",
            "If the source is wrong, have the drop corrected: churn_landing loads the correction. Or take it back: "
            f"make withdraw AS_OF={as_of} WHY='…'.",
            "If the change is real, expect worse scores until a version has learned from labels of such dates; "
            "docs/drift.md says how to read the figures.",
        ]),
    )  # fmt: skip


def _read(connection: Connection, name: str, values: dict[str, object]) -> list[Row]:
    with connection.cursor(row_factory=class_row(Row)) as cursor:
        return cursor.execute(compose(f"drift/{name}"), values).fetchall()
