"""A revision of the list: what identifies it, and its row in scores.runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import sql
from psycopg.rows import class_row

from churn.postgres.database import Connection, compose


@dataclass(frozen=True)
class Run:
    """A row of scores.runs; see include/sql/migrations/0012_scores.sql for the columns."""

    as_of: date
    revision: int
    model_version: int
    model_run_id: str
    model_as_of: date
    feature_service: str
    threshold: float
    control_share: float
    snapshot_digest: str
    code_digest: str
    rows: int
    expected_churners: float
    revenue_at_risk: float
    scored_at: datetime
    sha256: str
    withdrawn_at: datetime | None
    expired_at: datetime | None

    @property
    def partition(self) -> sql.Identifier:
        """The table of its rows."""
        return partition_of(self.as_of, self.revision)

    def is_of(self, identity: Mapping[str, Any]) -> bool:
        """Tell whether the run has these values: the same snapshot, version, code and settings."""
        return all(getattr(self, name) == value for name, value in identity.items())


def partition_of(as_of: date, revision: int) -> sql.Identifier:
    """Return the partition of scores.customers that holds a revision."""
    return sql.Identifier("scores", f"customers_{as_of:%Y_%m_%d}_r{revision}")


def current_run(connection: Connection, as_of: date) -> Run | None:
    """Return the newest revision of the list of `as_of`, None where there is none."""
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        return cursor.execute(compose("scores/current_run"), {"as_of": as_of}).fetchone()


def runs_of(connection: Connection, as_of: date) -> list[Run]:
    """Return every revision of the list of `as_of`, oldest first, also withdrawn and expired ones."""
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        return cursor.execute(compose("scores/runs"), {"as_of": as_of}).fetchall()


def all_runs(connection: Connection) -> list[Run]:
    """Return every revision of every list, oldest AS_OF first."""
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        return cursor.execute(compose("scores/all_runs")).fetchall()


def record_run(connection: Connection, values: Mapping[str, Any]) -> Run:
    """Add a row to scores.runs and return it."""
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        found = cursor.execute(compose("scores/record_run"), values).fetchone()
    assert found is not None
    return found
