"""The entry point of the image: waits for the dependencies in WAIT_FOR, then execs the command.

Not every engine waits for healthy dependencies. WAIT_FOR holds addresses separated by spaces: postgresql://… waits for
a login, http://… for a 200, tcp://host:port for a listener, and the words `airflow-migrations` and `churn-migrations`
for the migrations of this image.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from http.client import InvalidURL
from urllib.parse import urlsplit

PATIENCE = 600
"""Seconds to wait before exiting; the engine then restarts the container."""

AIRFLOW_MIGRATIONS, CHURN_MIGRATIONS = "airflow-migrations", "churn-migrations"


def main() -> None:
    # PID 1 has no default handler for SIGTERM, so stopping the container would wait for SIGKILL.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    deadline = time.monotonic() + PATIENCE
    for address in os.environ.get("WAIT_FOR", "").split():
        _wait(address, deadline)
    os.execvp(sys.argv[1], sys.argv[1:])


def _wait(address: str, deadline: float) -> None:
    said = ""
    while trouble := why_not_ready(address):
        if trouble != said:
            print(f"waiting for {_without_login(address)}: {trouble}", flush=True)  # noqa: T201
            said = trouble
        if time.monotonic() > deadline:
            sys.exit(f"{_without_login(address)} is not ready after {PATIENCE} seconds: {trouble}")
        time.sleep(0.5)


def why_not_ready(address: str) -> str | None:
    """Return in words why `address` is not ready, None if it is."""
    if address == AIRFLOW_MIGRATIONS:
        done = subprocess.run(["airflow", "db", "check-migrations", "--migration-wait-timeout", "300"], check=False)
        return f"exit status {done.returncode}" if done.returncode else None
    if address == CHURN_MIGRATIONS:
        url = os.environ["AIRFLOW_CONN_CHURN_POSTGRES"]
        return _postgres_refuses(url) or _lacks_migrations(url)
    try:
        match (parts := urlsplit(address)).scheme:
            case "postgresql":
                return _postgres_refuses(address)
            case "tcp":
                socket.create_connection((parts.hostname, parts.port), timeout=2).close()
            case "http":
                urllib.request.urlopen(address, timeout=5).close()
            case other:
                sys.exit(f"WAIT_FOR: {_without_login(address)!r}: {other!r} is none of postgresql, tcp, http")
    except OSError as error:
        return str(error)
    except (ValueError, InvalidURL):
        # The error's text can contain a part of the password.
        sys.exit("WAIT_FOR holds an invalid address")
    return None


def _postgres_refuses(url: str) -> str | None:
    import psycopg  # noqa: PLC0415 — imported only to wait for Postgres

    from churn.postgres.database_url import BadDatabaseUrl, parts_of  # noqa: PLC0415

    try:
        # Checked first, since libpq's error would quote the password.
        parts_of(url)
        psycopg.connect(url, connect_timeout=5).close()
    except BadDatabaseUrl as error:
        sys.exit(f"WAIT_FOR has a Postgres address that is {error}; docs/containers.md says what passwords may contain")
    except psycopg.Error as error:
        return str(error).splitlines()[0]
    return None


def _lacks_migrations(url: str) -> str | None:
    import psycopg  # noqa: PLC0415

    from churn.postgres.migrate import MigrationError, find_missing  # noqa: PLC0415

    try:
        missing = find_missing(url)
    except (MigrationError, psycopg.Error) as error:
        return str(error).splitlines()[0]
    return f"not applied yet: {', '.join(missing)}" if missing else None


def _without_login(address: str) -> str:
    return address.rpartition("@")[2] if "@" in address else address


if __name__ == "__main__":
    main()
