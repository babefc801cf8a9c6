"""Alarms: the verdict on each version, and the alert for each change of it.

A verdict stays until newer labels change it. The alarm of the service is the verdict on the version in Production, so
it ends when a better version is there.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

from psycopg.rows import class_row

from churn.outcomes.verdict import ALARMS, AS_PROMISED, CHANCE
from churn.postgres.database import Connection, compose, connect, execute
from churn.registry.model_version import ModelVersion

Of = tuple[int, str]
"""A version and its run."""


@dataclass(frozen=True)
class Standing:
    """The verdict on a version: a row of the view outcomes.verdicts."""

    model_version: int
    model_run_id: str
    as_of: date
    revision: int
    known_as_of: date
    source: str
    basis: str
    arm: str
    rows: int
    auc: float
    auc_low: float
    auc_high: float
    promised_auc: float | None
    promised_low: float | None
    promised_high: float | None
    verdict: str
    reason: str

    @property
    def is_alarm(self) -> bool:
        return self.verdict in ALARMS

    @property
    def of(self) -> Of:
        return self.model_version, self.model_run_id

    def __str__(self) -> str:
        who = f"{self.rows} customers of the {self.basis}" if self.arm == "all" else f"{self.arm}, {self.basis}"
        return f"version {self.model_version} on {self.as_of}: {self.verdict}: {self.reason} ({who})"


@dataclass(frozen=True)
class Change:
    """A verdict that differs from the last one that was alerted, and the version that is in Production now."""

    standing: Standing
    production: int | None
    replaced: bool

    @property
    def title(self) -> str:
        return f"model version {self.standing.model_version} is {self.standing.verdict}"

    @property
    def text(self) -> str:
        return f"{self.standing}.\nWhat to do: {self._advice()}"

    def _advice(self) -> str:
        found = self.standing
        if not found.is_alarm:
            return "nothing: the labels that came say that it keeps its promise again."
        if self.replaced:
            by = f"version {self.production} is in Production" if self.production else "Production is empty"
            return f"nothing, if you trust its successor: it was answering, and now {by}."
        if found.verdict == CHANCE:
            return (
                "do not use its list. Check how labels.csv of that date was made; then make rollback to a version that "
                "still holds, or wait for the next training: the page Health shows both."
            )
        return (
            "look at the page Health and at what drifted. The next training may replace it; if an earlier version "
            "was better, make rollback."
        )


def verdicts(connection: Connection) -> dict[Of, Standing]:
    """Return the verdict on each version that has one."""
    with connection.cursor(row_factory=class_row(Standing)) as cursor:
        return {each.of: each for each in cursor.execute(compose("outcomes/verdicts")).fetchall()}


def verdict_on(connection: Connection, version: ModelVersion | None) -> Standing | None:
    """Return the verdict on a version, None if there is none."""
    return verdicts(connection).get((version.version, version.run_id)) if version else None


def find_changes(database_url: str, production: ModelVersion | None) -> list[Change]:
    """Return the verdicts to alert: those that differ from the last alert about the version, worst first."""
    with connect(database_url) as connection:
        now = verdicts(connection)
        told = {(version, run): verdict for version, run, verdict in execute(connection, "outcomes/told")}
    held = (production.version, production.run_id) if production else None
    return [
        Change(now[of], production.version if production else None, replaced=of != held) for of in _changed(now, told)
    ]


def record_alert(database_url: str, change: Change) -> None:
    """Record that the alert about a change was sent."""
    found = change.standing
    with connect(database_url) as connection:
        execute(connection, "outcomes/record_alarm", {
            "model_version": found.model_version, "model_run_id": found.model_run_id, "verdict": found.verdict,
            "as_of": found.as_of, "revision": found.revision,
        })  # fmt: skip


def _changed(now: Mapping[Of, Standing], told: Mapping[Of, str]) -> Collection[Of]:
    return [of for of, standing in now.items() if standing.verdict != told.get(of, AS_PROMISED)]
