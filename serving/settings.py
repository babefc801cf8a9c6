"""The service's settings, read once from the environment."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from churn.features.redis.server import BadRedisUrl, check_redis_url
from churn.postgres.database_url import BadDatabaseUrl, parts_of
from serving.keys import digest_of


class SettingsError(ValueError):
    """A setting is missing or invalid."""


@dataclass(frozen=True)
class Settings:
    """The settings of the service.

    Args:
        database_url: the `churn` database (libpq URI), which holds Feast's registry and online store.
        tracking_uri: the MLflow server, or its database, that holds the model registry.
        poll_seconds: interval between polls of stage Production.
        max_features_age_days: maximum age of the features' AS_OF; None: any age.
        max_body_bytes: maximum request body; batches have their own limit.
        max_waiting: queue limit per worker, separately for single predictions and for other requests.
        api_key_digests: sha256 of each valid key in hexadecimal; if empty, no key is required.
    """

    database_url: str = field(repr=False)
    tracking_uri: str = field(repr=False)
    poll_seconds: float = 10.0
    max_features_age_days: int | None = None
    max_body_bytes: int = 16_384
    max_waiting: int = 64
    api_key_digests: tuple[str, ...] = ()


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of the environment; an unset or empty variable has its default.

    Raises:
        SettingsError: CHURN_DATABASE_URL or MLFLOW_TRACKING_URI is missing, or a value is invalid.
    """
    if redis := environment.get("CHURN_REDIS_URL"):
        # Checked here, so that the service does not start with an unusable URL and fail later in a thread.
        try:
            check_redis_url(redis)
        except BadRedisUrl as error:
            raise SettingsError(f"CHURN_REDIS_URL is {error}") from None
    database_url = environment.get("SERVING_DATABASE_URL") or _required(environment, "CHURN_DATABASE_URL")
    try:
        parts_of(database_url)
    except BadDatabaseUrl as error:
        raise SettingsError(f"SERVING_DATABASE_URL, or else CHURN_DATABASE_URL, is {error}") from error
    tracking_uri = _required(environment, "MLFLOW_TRACKING_URI")
    if tracking_uri.startswith("http") and "@" in tracking_uri:
        # MLflow's errors quote the URI, so the password would reach the log and /health/ready.
        raise SettingsError("MLFLOW_TRACKING_URI has credentials: set MLFLOW_TRACKING_USERNAME and _PASSWORD instead")
    return Settings(
        database_url=database_url,
        tracking_uri=tracking_uri,
        poll_seconds=_number(environment, "SERVING_POLL_SECONDS") or Settings.poll_seconds,
        max_features_age_days=_whole(environment, "SERVING_MAX_FEATURES_AGE_DAYS"),
        max_body_bytes=_whole(environment, "SERVING_MAX_BODY_BYTES") or Settings.max_body_bytes,
        max_waiting=_whole(environment, "SERVING_MAX_WAITING") or Settings.max_waiting,
        api_key_digests=_digests(environment, "SERVING_API_KEY_DIGESTS"),
    )


def _required(environment: Mapping[str, str], name: str) -> str:
    if value := environment.get(name):
        return value
    raise SettingsError(f"{name} is not set: `make env` prints the settings of the embedded stack")


def _digests(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    digests = tuple(environment.get(name, "").replace(",", " ").lower().split())
    for digest in digests:
        if not re.fullmatch("[0-9a-f]{64}", digest):
            # Do not show the value: it may be a key.
            raise SettingsError(f"{name} must hold sha256 digests; `python -m serving.keys` makes a key and its digest")
        if digest == digest_of(""):
            raise SettingsError(f"{name} holds the sha256 of an empty key")
    return digests


def _whole(environment: Mapping[str, str], name: str) -> int | None:
    value = _number(environment, name)
    if value is None:
        return None
    if value != int(value):
        raise SettingsError(f"{name} must be a whole number above 0, got {environment[name]!r}")
    return int(value)


def _number(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise SettingsError(f"{name} must be a number above 0, got {text!r}")
    return value
