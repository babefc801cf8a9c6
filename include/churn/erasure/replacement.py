"""Which training must follow an erasure, and by when a version in Production that learned from erased customers is
replaced."""

from dataclasses import dataclass
from datetime import date

from mlflow import MlflowClient

from churn.postgres.database import connect, execute, one
from churn.registry.client import production as find_production
from churn.registry.erased import replace_by


@dataclass(frozen=True)
class Replacement:
    """A version in Production that learned from erased customers.

    Attributes:
        by: the last day on which it may be in Production.
    """

    version: int
    by: date

    def __str__(self) -> str:
        return f"version {self.version} in Production learned from erased customers: it must be replaced by {self.by}"


def find_replacement(database_url: str) -> Replacement | None:
    """Return the version in Production if it learned from customers who were erased since, else None.

    Raises:
        SettingError: CHURN_REPLACE_DAYS is not a number of days.
    """
    production = find_production(MlflowClient())
    if production is None:
        return None
    with connect(database_url) as connection:
        of = {"version": production.version, "run_id": production.run_id}
        (erased_on,) = one(connection, "erasure/first_of_version", of)
    return Replacement(production.version, replace_by(erased_on)) if erased_on else None


def next_training(request: str, database_url: str) -> tuple[date | None, list[int]]:
    """Return the newest loaded AS_OF, whose training replaces the versions that a request affects, and these versions.

    The AS_OF is None if no drop is loaded.
    """
    with connect(database_url) as connection:
        versions = [version for (version,) in execute(connection, "erasure_report/versions", {"request": request})]
        return one(connection, "gate/newest_drop")[0], versions
