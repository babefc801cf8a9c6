"""Alarms: the verdict on each version, and the alert for each change of it.

A verdict stays until newer labels change it. The alarm of the service is the verdict on the version in Production, so
it ends when a better version is there.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from churn.outcomes.standing import AS_PROMISED, Of, Standing, verdicts
from churn.postgres.database import connect, execute
from churn.registry.model_version import ModelVersion


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
        return found.advice


def find_changes(database_url: str, production: ModelVersion | None) -> list[Change]:
    """Return the verdicts to alert: those that differ from the last alert about the version."""
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
