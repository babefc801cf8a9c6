"""Settings read from the environment. Tasks read the database's address from the Airflow connection instead."""

import os
from dataclasses import dataclass
from pathlib import Path


class SettingMissing(RuntimeError):
    """A setting that has no sensible default is not in the environment."""


@dataclass(frozen=True)
class Settings:
    """The landing directory of drops, and their archive: a directory or the URL of an object store."""

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
    """Return the URL of the Redis online store (CHURN_REDIS_URL), None where Postgres is the online store."""
    return os.environ.get("CHURN_REDIS_URL") or None
