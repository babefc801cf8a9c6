"""The state of every AS_OF: its drop, its last decision, its list and the verdict on it."""

from dataclasses import dataclass
from datetime import date, datetime

import psycopg
from psycopg.rows import class_row

from churn.features.builds import builds_of
from churn.postgres.database import connect, execute, statement
from churn.registry.erased import erased_in_words
from churn.registry.model_version import ModelVersion
from churn.registry.state import in_production
from embedded.environment import environment
from embedded.settings import Settings
from embedded.table import table


@dataclass(frozen=True)
class AsOfState:
    """The state of one AS_OF; the fields after `has_snapshot` are those of its last decision, then of its list.

    Attributes:
        decision: id of the last decision. Ids increase with time across all AS_OF.
        list_version: the model version that scored the list.
        list_is_current: it is of the current snapshot; None without a list or a snapshot.
        verdict: whether the list was right; None before its labels come.
    """

    as_of: date
    revision: int | None
    received_at: datetime | None
    rows: int | None
    has_snapshot: bool
    decision: int | None
    outcome: str | None
    reason: str | None
    candidate_version: int | None
    candidate_auc: float | None
    production_auc: float | None
    run_id: str | None = None
    list_revision: int | None = None
    list_version: int | None = None
    list_rows: int | None = None
    list_is_current: bool | None = None
    verdict: str | None = None


def as_of_states(settings: Settings) -> list[AsOfState]:
    """Return the state of every AS_OF that has a drop, a snapshot or a decision, oldest first.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    url = environment(settings)["CHURN_DATABASE_URL"]
    with psycopg.connect(url, connect_timeout=5, row_factory=class_row(AsOfState)) as connection:
        return connection.execute(statement("status/as_of")).fetchall()


def withdrawals(settings: Settings) -> list[str]:
    """Return a line for each withdrawn AS_OF without a newer drop: when, by whom and why.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    with connect(environment(settings)["CHURN_DATABASE_URL"]) as connection:
        found = execute(connection, "withdrawal/withdrawn").fetchall()
    return [f"{as_of} was withdrawn on {at:%Y-%m-%d %H:%M} UTC by {who}: {why}" for as_of, at, who, why in found]


def served_as_of(settings: Settings) -> date | None:
    """Return the AS_OF whose features are served online, None if there is none.

    Raises:
        psycopg.Error: the online store cannot be reached, or the database was never migrated.
    """
    with connect(environment(settings)["CHURN_DATABASE_URL"]) as connection:
        served = builds_of(connection).served()
    return served.as_of if served else None


def last_decision(states: list[AsOfState]) -> AsOfState | None:
    """Return the AS_OF of the last decision, None if there is no decision."""
    return max((state for state in states if state.decision), key=lambda state: state.decision or 0, default=None)


def as_of_table(states: list[AsOfState], versions: list[ModelVersion]) -> str:
    """Return a table of the AS_OF dates, the last decision, and whether Production is superseded or learned from erased
    customers."""
    superseded = [each for each in versions if "superseded" in each.tags]
    # By run as well: version numbers restart if the registered model is deleted and created again.
    old = {(each.version, each.run_id) for each in superseded}

    def version_of(state: AsOfState) -> str | int | None:
        is_old = (state.candidate_version, state.run_id or "") in old
        return f"{state.candidate_version} superseded" if is_old else state.candidate_version

    def scored(state: AsOfState) -> str | None:
        if state.list_revision is None:
            return None
        outdated = ", outdated" if state.list_is_current is False else ""
        return f"version {state.list_version}, revision {state.list_revision}{outdated}"

    header = (
        "AS_OF",
        "revision",
        "received",
        "rows",
        "snapshot",
        "decision",
        "version",
        "AUC",
        "Production AUC",
        "scored",
        "verdict",
    )
    rows = [
        (
            state.as_of,
            state.revision,
            f"{state.received_at:%Y-%m-%d %H:%M}" if state.received_at else None,
            state.rows,
            "yes" if state.has_snapshot else "no",
            state.outcome,
            version_of(state),
            state.candidate_auc,
            state.production_auc,
            scored(state),
            state.verdict,
        )
        for state in states
    ]
    last = last_decision(states)
    why = [f"last decision ({last.as_of}): {last.outcome}: {last.reason}"] if last else []
    why += [
        f"Production, version {each.version}, is superseded: {each.tags['superseded']}"
        for each in in_production(superseded)
    ]
    why += [
        f"Production, version {each.version}, {said}"
        for each in in_production(versions)
        if (said := erased_in_words(each.tags))
    ]
    return "\n\n".join([table(header, rows), *why])
