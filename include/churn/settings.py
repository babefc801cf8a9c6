"""What the pipeline is told by its environment. Where the database is, a task learns from Airflow's connection
instead."""

import os
from dataclasses import dataclass
from pathlib import Path


class SettingMissing(RuntimeError):
    """A setting that has no sensible default is not in the environment."""


@dataclass(frozen=True)
class Settings:
    """Where drops land, a directory, and where accepted ones are archived, a directory or a URL of an object store.
    MLflow reads MLFLOW_TRACKING_URI itself."""

    landing: Path
    archive: str


def read_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingMissing: LANDING_DIR or ARCHIVE_DIR is not set.
    """
    return Settings(landing=Path(_require("LANDING_DIR")), archive=_require("ARCHIVE_DIR"))


def _require(name: str) -> str:
    if value := os.environ.get(name):
        return value
    raise SettingMissing(f"{name} is not set: `make env` prints the settings of the embedded stack")


def redis_url() -> str | None:
    """Return the URL of the Redis that is the online store (CHURN_REDIS_URL), None where Postgres is."""
    return os.environ.get("CHURN_REDIS_URL") or None
