"""The page "Health": was the list right? Judgements, verdicts and expectations of each AS_OF. Read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from churn.board.reading import reading, rows_of
from churn.drift.findings import Row, drifted_now, newest_compared
from churn.outcomes.standing import Standing, verdicts
from churn.postgres.database import Connection

DATES = 60
"""Newest judged AS_OFs on the page: five years of monthly labels."""

WAITING = 12
"""Newest lists on the page that wait for labels."""


@dataclass(frozen=True)
class Figures:
    """The scores of a version held against the labels of a date: a row of outcomes.performance."""

    as_of: date
    revision: int
    model_version: int
    model_run_id: str
    source: str
    basis: str
    arm: str
    slice: str
    decides: bool
    rows: int
    churned: int
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    brier: float | None
    calibration_intercept: float | None
    calibration_slope: float | None
    mean_probability: float | None
    churn_rate: float | None
    lift: float | None
    capture: float | None
    precision: float | None
    recall: float | None
    promised_auc: float | None
    promised_low: float | None
    promised_high: float | None
    verdict: str
    reason: str


@dataclass(frozen=True)
class Expected:
    """What was expected of a list before its labels came.

    Attributes:
        auc, low, high: None where too few leavers are expected.
        believed, why: what the last expectation before it came to.
    """

    as_of: date
    model_version: int
    model_run_id: str
    basis: str
    calibrated_on: date
    rows: int
    auc: float | None
    low: float | None
    high: float | None
    brier: float
    churn_rate: float
    believed: bool = True
    why: str = ""


@dataclass(frozen=True)
class Judged:
    """A date and its newest judgement.

    Attributes:
        revision, known_as_of, judged_at: None where no judgement is left: never judged, or all of them withdrawn.
        revisions: how many judgements there are, withdrawn ones included.
    """

    as_of: date
    revision: int | None
    known_as_of: date | None
    judged_at: datetime | None
    revisions: int


@dataclass(frozen=True)
class Revision:
    """A judgement of a date.

    Attributes:
        changes: in which words it differs from the judgement before it.
        figures: those that decided.
    """

    as_of: date
    revision: int
    known_as_of: date
    judged_at: datetime
    withdrawn_at: datetime | None
    list_revision: int | None
    list_version: int | None
    answering_version: int | None
    labelled_by: Mapping[str, str]
    treated_by: Mapping[str, str]
    code_digest: str
    is_current: bool
    changes: Sequence[str] = ()
    figures: Sequence[Figures] = ()


@dataclass(frozen=True)
class Effect:
    """What a campaign did to the churn rate of the top decile: that of arm treat less that of arm control.

    Attributes:
        effect, low, high: None without rows in both arms.
    """

    contacted: int
    control_contacted: int
    treat_rows: int
    treat_churned: int
    control_rows: int
    control_churned: int
    effect: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Health:
    """The newest dates with their figures and expectations, newest first, and the verdict on each version.

    Attributes:
        floor: an AUC whose upper bound is below it is no better than chance.
        compared: the newest AS_OF whose columns were compared. drifted: its flagged findings.
    """

    floor: float
    dates: list[Judged]
    figures: list[Figures]
    expected: list[Expected]
    verdicts: list[Standing]
    compared: date | None
    drifted: list[Row]


@dataclass(frozen=True)
class Parts:
    """A date in detail: the newest figures by arm and slice, a campaign, and its judgements, newest first."""

    parts: list[Figures]
    effect: Effect | None
    revisions: list[Revision]


def read_health(database_url: str, limit: int = DATES) -> Health:
    """Return a consistent view of the newest dates: `limit` judged ones, and WAITING without labels.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    from churn.statistics import FLOOR  # noqa: PLC0415 — SciPy, which only this page needs

    with reading(database_url) as connection:
        dates = rows_of(connection, Judged, "health/dates", {"limit": limit, "waiting": WAITING})
        since = {"since": dates[-1].as_of if dates else date.max}
        return Health(
            floor=FLOOR,
            dates=dates,
            figures=rows_of(connection, Figures, "health/figures", {**since, "until": date.max, "undivided": True}),
            expected=_expected(connection, since),
            verdicts=sorted(verdicts(connection).values(), key=lambda each: each.of, reverse=True),
            compared=newest_compared(connection),
            drifted=drifted_now(connection),
        )


def read_parts(database_url: str, as_of: date) -> Parts | None:
    """Return a date in detail, None where it was never judged.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    with reading(database_url) as connection:
        revisions = rows_of(connection, Revision, "health/revisions", {"as_of": as_of})
        deciding = rows_of(connection, Figures, "health/deciding", {"as_of": as_of})
        parts = rows_of(connection, Figures, "health/figures", {"since": as_of, "until": as_of, "undivided": False})
        effect = rows_of(connection, Effect, "health/effect", {"as_of": as_of})
    if not revisions:
        return None
    told = [
        replace(
            each,
            changes=changes(before, each),
            figures=[row for row in deciding if row.revision == each.revision],
        )
        for before, each in zip([None, *revisions], revisions, strict=False)
    ]
    return Parts(parts, effect[0] if effect else None, told[::-1])


def changes(before: Revision | None, after: Revision) -> list[str]:
    """Return in words why a date was judged again; nothing of the first judgement."""
    if before is None:
        return []
    labels = _differing(before.labelled_by, after.labelled_by)
    actions = _differing(before.treated_by, after.treated_by)
    found = {
        f"labels of the drop of {', '.join(labels)}": bool(labels),
        f"actions of the drop of {', '.join(actions)}": bool(actions),
        f"list revision {after.list_revision} by version {after.list_version}": _list(before) != _list(after),
        f"version {after.answering_version or after.list_version} was answering": (
            before.answering_version != after.answering_version
        ),
        "the code that judges": before.code_digest != after.code_digest,
    }
    return [words for words, differs in found.items() if differs]


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(drop for drop in {*before, *after} if before.get(drop) != after.get(drop))


def _list(revision: Revision) -> tuple[int | None, int | None]:
    return revision.list_revision, revision.list_version


def _expected(connection: Connection, since: Mapping[str, Any]) -> list[Expected]:
    from churn.outcomes.expected import believed  # noqa: PLC0415 — SciPy, see above
    from churn.outcomes.track import read_track  # noqa: PLC0415

    track, found = read_track(connection), []
    for each in rows_of(connection, Expected, "health/expectations", since):
        is_believed, why = believed([checked for checked in track if checked.as_of < each.as_of])
        found.append(replace(each, believed=is_believed, why=why))
    return found
