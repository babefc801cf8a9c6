"""The settings of the embedded stack, read from the environment; all paths, ports and addresses derive from them."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from churn.postgres.database_url import BadDatabaseUrl, url_on
from churn.settings import (
    LABEL_DAYS,
    POSTGRES,
    REPLACE_DAYS,
    TRAINING_ROWS,
    SettingError,
    label_days,
    offline,
    replace_days,
    stated_value,
    training_rows,
)

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parent.parent


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and says what it must be."""


@dataclass(frozen=True)
class Settings:
    """Where the embedded stack lives, and on which ports.

    Attributes:
        home: the directory of all state (CHURN_HOME, default .state beside this repository).
        airflow_port, mlflow_port, serving_port: ports on 127.0.0.1.
        erasure: the directory of the key and the ledger of erased customers (CHURN_ERASURE_DIR, default beside home).
        server: libpq URI of a Postgres server of your own (CHURN_POSTGRES); None for the embedded one.
        broker: URL of the Redis broker of Celery workers, which the operator starts (CHURN_CELERY_BROKER); None for
            LocalExecutor.
        redis: URL of the Redis online store (CHURN_REDIS_URL); None for Postgres.
        offline: what joins training sets and scores, postgres or spark (CHURN_OFFLINE).
        label_days: the days that a label covers (CHURN_LABEL_DAYS).
        replace_days: the days within which a version that learned from erased customers leaves Production
            (CHURN_REPLACE_DAYS).
        value: what contacts cost and bring (CHURN_VALUE), as it is written; None for thresholds by F1.
        training_rows: from how many rows a version learns at most, about (CHURN_TRAINING_ROWS).
    """

    home: Path
    airflow_port: int
    mlflow_port: int
    serving_port: int
    erasure: Path
    server: str | None = field(default=None, repr=False)
    broker: str | None = field(default=None, repr=False)
    redis: str | None = field(default=None, repr=False)
    offline: str = POSTGRES
    label_days: int = LABEL_DAYS
    replace_days: int = REPLACE_DAYS
    value: str | None = None
    training_rows: int = TRAINING_ROWS

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    @property
    def archive(self) -> Path:
        return self.home / "archive"

    @property
    def scores(self) -> Path:
        return self.home / "scores"

    @property
    def snapshots(self) -> Path:
        """The directory of the Parquet snapshots, with CHURN_OFFLINE=spark."""
        return self.home / "snapshots"

    @property
    def runtime(self) -> Path:
        """The directory of the Unix sockets. It is outside `home`, as a socket's path is limited to about 100 bytes."""
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        return Path("/tmp") / f"churn-{digest}"

    @property
    def postgres_sockets(self) -> Path:
        return self.runtime / "postgres"

    @property
    def supervisor_socket(self) -> Path:
        return self.runtime / "supervisor.sock"

    @property
    def postgres_server(self) -> str:
        """The libpq URI of the server that holds the three databases."""
        return self.server or f"postgresql://postgres@{str(self.postgres_sockets).replace('/', '%2F')}/postgres"

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.airflow_port}"

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def serving_url(self) -> str:
        return f"http://127.0.0.1:{self.serving_port}"


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of `environ`.

    Raises:
        SettingsError: a port is not a port, two services share one, or CHURN_HOME, CHURN_POSTGRES,
            CHURN_CELERY_BROKER, CHURN_REDIS_URL, CHURN_ERASURE_DIR, CHURN_OFFLINE, CHURN_LABEL_DAYS,
            CHURN_REPLACE_DAYS, CHURN_VALUE or CHURN_TRAINING_ROWS cannot be used.
    """
    home = Path(environ.get("CHURN_HOME") or REPOSITORY / ".state").expanduser()
    if "%" in str(home):
        # supervisord expands % in its configuration.
        raise SettingsError(f"CHURN_HOME must be a path without a %, got {str(home)!r}")
    ports = {
        name: _port(name, environ.get(name) or str(default))
        for name, default in (("AIRFLOW_PORT", 8080), ("MLFLOW_PORT", 5001), ("SERVING_PORT", 8000))
    }
    if len(set(ports.values())) < len(ports):
        raise SettingsError(f"each service needs its own port, got {ports}")
    home = Path(os.path.abspath(home))
    return Settings(
        home=home,
        airflow_port=ports["AIRFLOW_PORT"],
        mlflow_port=ports["MLFLOW_PORT"],
        serving_port=ports["SERVING_PORT"],
        erasure=_erasure(environ.get("CHURN_ERASURE_DIR"), home),
        server=_server(environ.get("CHURN_POSTGRES")),
        broker=_broker(environ.get("CHURN_CELERY_BROKER")),
        redis=_redis(environ.get("CHURN_REDIS_URL")),
        offline=_of_pipeline(offline, environ),
        label_days=_of_pipeline(label_days, environ),
        replace_days=_of_pipeline(replace_days, environ),
        value=environ["CHURN_VALUE"] if _of_pipeline(stated_value, environ) else None,
        training_rows=_of_pipeline(training_rows, environ),
    )


def _port(name: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise SettingsError(f"{name} must be a port number from 1 to 65535, got {text!r}")
    return int(text)


def _erasure(text: str | None, home: Path) -> Path:
    """Return the directory beside `home`, where neither a backup nor `make clean` finds it, unless `text` names one."""
    if not text:
        return home.with_name(f"{home.name}.erasure")
    directory = Path(os.path.abspath(Path(text).expanduser()))
    if directory.is_relative_to(home):
        raise SettingsError(f"CHURN_ERASURE_DIR must lie outside CHURN_HOME, which make clean removes; got {text!r}")
    return directory


def _server(uri: str | None) -> str | None:
    if not uri:
        return None
    try:
        url_on(uri, "churn")
    except BadDatabaseUrl as error:
        raise SettingsError(f"CHURN_POSTGRES is {error}") from error
    return uri


def _redis(url: str | None) -> str | None:
    if not url:
        return None
    from churn.features.redis.server import BadRedisUrl, check_redis_url  # noqa: PLC0415 — for most there is none

    try:
        check_redis_url(url)
    except BadRedisUrl as error:
        raise SettingsError(f"CHURN_REDIS_URL is {error}") from None
    return url


def _of_pipeline(read: Callable[[Mapping[str, str]], T], environ: Mapping[str, str]) -> T:
    try:
        return read(environ)
    except SettingError as error:
        raise SettingsError(str(error)) from None


def _broker(url: str | None) -> str | None:
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        # The message omits the URL and urlsplit()'s error: both can contain the password.
        raise SettingsError(
            "CHURN_CELERY_BROKER must be a URL like redis://:password@host:6379/0, a / @ : # or ? of the password "
            "percent-encoded"
        )
    return url
