"""Settings from environment variables. Tasks get the database URL from an Airflow connection instead."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from churn.value import Value, ValueRefused

MOST_CONTROL = 0.5
"""Largest share of the control arm: a larger one is more likely 10 written for 0.10."""

LABEL_DAYS = 28
"""Days that a label covers by default: the longest period that fits between monthly drops, which are 28 to 31 days
apart."""

TRAINING_ROWS = 1_000_000
"""Rows to learn from by default. What another million would change in an AUC of 0.8 is below its standard
error on a gate cohort of 100,000."""

LEAST_TRAINING_ROWS = 100_000
"""Rows on which recipes are compared; fewer would save no memory that matters."""

REPLACE_DAYS = 30
"""Days within which a version that learned from erased customers leaves Production by default: a month, as the law of
most countries gives for the erasure itself."""

POSTGRES, SPARK = "postgres", "spark"
"""The values of CHURN_OFFLINE."""

MOST_DAYS = 366
"""Limit of settings in days: a longer label says nothing in time to act on it."""


class SettingError(RuntimeError):
    """An environment variable that cannot be used."""


class SettingMissing(SettingError):
    """A required environment variable is not set."""


@dataclass(frozen=True)
class Settings:
    """The settings of the pipeline.

    Attributes:
        landing: the landing directory.
        archive: the archive of accepted drops: a directory, or the URL of an object store.
    """

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


@dataclass(frozen=True)
class ScoreSettings:
    """The settings of the list.

    Attributes:
        location: where its files go: a directory, or the URL of an object store.
        control_share: share of the customers in the control arm.
    """

    location: str
    control_share: float


def read_score_settings() -> ScoreSettings:
    """Read the settings of the list: SCORES_URL, and CHURN_CONTROL_SHARE (default 0.10).

    Raises:
        SettingError: SCORES_URL is not set, or CHURN_CONTROL_SHARE is not a number from 0 to 0.5.
    """
    text = os.environ.get("CHURN_CONTROL_SHARE") or "0.10"
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= MOST_CONTROL:
        raise SettingError(f"CHURN_CONTROL_SHARE must be a number from 0 to {MOST_CONTROL}, like 0.10, got {text!r}")
    return ScoreSettings(location=_require("SCORES_URL"), control_share=share)


def offline(environ: Mapping[str, str] = os.environ) -> str:
    """Return what joins training sets and the features of the list (CHURN_OFFLINE): POSTGRES, the default, or SPARK.

    Raises:
        SettingError: it is another word.
    """
    text = environ.get("CHURN_OFFLINE") or POSTGRES
    if text not in (POSTGRES, SPARK):
        raise SettingError(f"CHURN_OFFLINE must be {POSTGRES} or {SPARK}, got {text!r}")
    return text


def snapshots_url() -> str | None:
    """Return where the Parquet snapshots are (SNAPSHOTS_URL), a directory or the URL of an object store; None if it is
    not set: there are none."""
    return os.environ.get("SNAPSHOTS_URL") or None


def required_snapshots_url() -> str:
    """Return SNAPSHOTS_URL.

    Raises:
        SettingMissing: it is not set.
    """
    return _require("SNAPSHOTS_URL")


def spark_master() -> str:
    """Return the master URL of Spark (CHURN_SPARK_MASTER, default local[*]: this machine's cores)."""
    return os.environ.get("CHURN_SPARK_MASTER") or "local[*]"


def erasure_directory() -> Path | None:
    """Return the directory of the key and the record of erased customers (CHURN_ERASURE_DIR), None if it is not set.

    It lies outside CHURN_HOME and the databases, so that no backup holds it.
    """
    text = os.environ.get("CHURN_ERASURE_DIR")
    return Path(text) if text else None


def log_directories(of_tasks: Path) -> list[Path]:
    """Return the directories of log files: that of the tasks, and with CHURN_HOME that of the embedded services."""
    home = os.environ.get("CHURN_HOME")
    return [of_tasks, *([Path(home) / "logs"] if home else [])]


def replace_days(environ: Mapping[str, str] = os.environ) -> int:
    """Return within how many days a version in Production that learned from erased customers is replaced
    (CHURN_REPLACE_DAYS, default 30).

    Raises:
        SettingError: it is not a whole number from 1 to 366.
    """
    return _days("CHURN_REPLACE_DAYS", REPLACE_DAYS, environ)


def redis_url() -> str | None:
    """Return the URL of the Redis online store (CHURN_REDIS_URL), None if Postgres is the online store."""
    return os.environ.get("CHURN_REDIS_URL") or None


def label_days(environ: Mapping[str, str] = os.environ) -> int:
    """Return the days that a label covers from its AS_OF on (CHURN_LABEL_DAYS, default 28).

    Raises:
        SettingError: it is not a whole number from 1 to 366.
    """
    return _days("CHURN_LABEL_DAYS", LABEL_DAYS, environ)


def _days(name: str, default: int, environ: Mapping[str, str]) -> int:
    text = environ.get(name) or str(default)
    days = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= days <= MOST_DAYS:
        raise SettingError(f"{name} must be a whole number from 1 to {MOST_DAYS}, got {text!r}")
    return days


def training_rows(environ: Mapping[str, str] = os.environ) -> int:
    """Return from how many rows a version learns at most, about (CHURN_TRAINING_ROWS, default 1,000,000).

    Raises:
        SettingError: it is not a whole number of at least 100,000.
    """
    text = environ.get("CHURN_TRAINING_ROWS") or str(TRAINING_ROWS)
    rows = int(text) if text.isascii() and text.isdecimal() else 0
    if rows < LEAST_TRAINING_ROWS:
        raise SettingError(f"CHURN_TRAINING_ROWS must be a whole number from {LEAST_TRAINING_ROWS} on, got {text!r}")
    return rows


def stated_value(environ: Mapping[str, str] = os.environ) -> Value | None:
    """Return what contacts cost and bring (CHURN_VALUE), None if it is not set: the threshold is then chosen by F1.

    Raises:
        SettingError: it is not like contact_cost=10,success_rate=0.3,margin=200.
    """
    text = environ.get("CHURN_VALUE")
    if not text:
        return None
    try:
        return Value.read(text)
    except ValueRefused as error:
        raise SettingError(
            f"CHURN_VALUE must be like contact_cost=10,success_rate=0.3,margin=200, got {text!r}: {error}"
        ) from None
