"""The gate board's data from Postgres: decisions, moves of Production, and the freshness of each AS_OF. Read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from churn.board.reading import reading, rows_of
from churn.features.build import Served
from churn.features.builds import builds_of
from churn.postgres.database import Connection, statement

DECISIONS = 1000
"""Newest decisions in the timeline: almost three years of daily ones."""

DATES = 60
"""Newest AS_OFs in the freshness table."""

MOVES = 20
"""Newest moves of Production in the list."""


@dataclass(frozen=True)
class Decision:
    """One decision as the timeline shows it. Errors are standard errors: value ± 1.96 error is the 95 % interval.

    Attributes:
        overridden: the run overrode thresholds.
    """

    id: int
    decided_at: datetime
    as_of: date
    graded_on: date
    candidate_version: int
    production_version: int | None
    outcome: str
    reason: str
    candidate_auc: float | None
    candidate_auc_error: float | None
    production_auc: float | None
    production_auc_error: float | None
    superior: bool
    overridden: bool


@dataclass(frozen=True)
class FullDecision:
    """One decision with its report: checks, slices and figures."""

    id: int
    decided_at: datetime
    as_of: date
    graded_on: date
    candidate_version: int
    production_version: int | None
    run_id: str
    outcome: str
    reason: str
    overridden: Mapping[str, Any]
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Grade:
    """The score of a version in one decision, as candidate or as Production."""

    decision: int
    decided_at: datetime
    graded_on: date
    graded_as: str
    auc: float | None
    auc_error: float | None


@dataclass(frozen=True)
class Move:
    """One change of stage Production: kind is promotion, person, rollback or release."""

    id: int
    moved_at: datetime
    kind: str
    version: int | None
    previous_version: int | None
    who: str
    why: str


@dataclass(frozen=True)
class DateState:
    """The state of one AS_OF.

    Attributes:
        snapshot_is_current, online_is_current: built from the loaded drop; None if not built.
        online_at: when the features published last were written.
        decision, outcome, candidate_version: the last decision.
        scored_at, list_revision, list_version: when its current list was written, its revision, and by which version.
        list_is_current: the list is of the current snapshot; None without a list or a snapshot.
        held_at, findings: when and why its drop was held; None if it is not held.
    """

    as_of: date
    revision: int | None
    received_at: datetime | None
    rows: int | None
    snapshot_at: datetime | None
    snapshot_is_current: bool | None
    online_at: datetime | None
    online_is_current: bool | None
    is_served: bool
    decision: int | None
    outcome: str | None
    candidate_version: int | None
    scored_at: datetime | None
    list_revision: int | None
    list_version: int | None
    list_is_current: bool | None
    held_at: datetime | None
    findings: Sequence[str] | None


@dataclass(frozen=True)
class Board:
    """The newest decisions (of `decision_count`), moves and dates, each newest first."""

    mark: str
    decision_count: int
    decisions: list[Decision]
    moves: list[Move]
    dates: list[DateState]


def read_mark(database_url: str) -> str:
    """Return a text that changes whenever the result of read_board() changes.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    with reading(database_url) as connection:
        return _mark(connection, builds_of(connection).served())


def read_board(database_url: str, decisions: int = DECISIONS) -> Board:
    """Return a consistent view of the board's data, with at most `decisions` decisions.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    with reading(database_url) as connection:
        served = builds_of(connection).served()
        return Board(
            mark=_mark(connection, served),
            decision_count=_value(connection, "count"),
            decisions=rows_of(connection, Decision, "board/decisions", {"limit": decisions}),
            moves=rows_of(connection, Move, "board/moves", {"limit": MOVES}),
            dates=rows_of(
                connection, DateState, "board/dates", {"limit": DATES, "served_as_of": served.as_of if served else None}
            ),
        )


def read_decision(database_url: str, decision: int) -> FullDecision | None:
    """Return a decision with its report, None if the id is unknown.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    with reading(database_url) as connection:
        found = rows_of(connection, FullDecision, "board/decision", {"id": decision})
    return found[0] if found else None


def read_grades(database_url: str, version: int, run_id: str) -> list[Grade]:
    """Return the grades of `version` of that run, as candidate and as Production, newest first.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    with reading(database_url) as connection:
        return rows_of(connection, Grade, "board/grades_of_version", {"version": version, "run_id": run_id})


def _mark(connection: Connection, served: Served | None) -> str:
    return f"{_value(connection, 'mark')}/{served.build if served else ''}"


def _value(connection: Connection, name: str) -> Any:
    row = connection.execute(statement(f"board/{name}")).fetchone()
    assert row is not None, f"board/{name} gives one row"
    return row[0]
