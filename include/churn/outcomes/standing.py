"""The verdict on each version, as alerts, `make status`, `make doctor` and serving read it.

It imports no NumPy: `make status` is quick, and serving reads verdicts without the code that makes them.
"""

from dataclasses import dataclass
from datetime import date

from psycopg.rows import class_row

from churn.postgres.database import Connection, compose
from churn.registry.model_version import ModelVersion

AS_PROMISED = "as promised"
WORSE = "worse than promised"
CHANCE = "no better than chance"
TOO_FEW = "too few rows"

ALARMS = frozenset({WORSE, CHANCE})

NOT_JUDGED = "not judged yet"
"""Of a version without a verdict."""

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

    @property
    def advice(self) -> str:
        """What to do about the alarm while the version is in Production, else nothing."""
        if self.verdict == CHANCE:
            return (
                "do not use its list. Check how labels.csv of that date was made; then make rollback to a version that "
                "still holds, or wait for the next training: the page Health shows both."
            )
        if self.verdict == WORSE:
            return (
                "look at the page Health and at what drifted. The next training may replace it; if an earlier version "
                "was better, make rollback."
            )
        return ""

    def __str__(self) -> str:
        who = f"{self.rows} customers of the {self.basis}" if self.arm == "all" else f"{self.arm}, {self.basis}"
        return f"version {self.model_version} on {self.as_of}: {self.verdict}: {self.reason} ({who})"


def verdicts(connection: Connection) -> dict[Of, Standing]:
    """Return the verdict on each version that has one."""
    with connection.cursor(row_factory=class_row(Standing)) as cursor:
        return {each.of: each for each in cursor.execute(compose("outcomes/verdicts")).fetchall()}


def verdict_on(connection: Connection, version: ModelVersion | None) -> Standing | None:
    """Return the verdict on a version, None if there is none."""
    return verdicts(connection).get((version.version, version.run_id)) if version else None


def verdict_in_words(production: ModelVersion | None, found: Standing | None) -> str:
    """Return the verdict on the version in Production as a sentence."""
    if production is None:
        return "no version is in Production"
    return str(found) if found else f"version {production.version} is {NOT_JUDGED}: no labels, or too few, came for it"
