"""The entry point of the image: waits for what WAIT_FOR names, then becomes the command.

Not every engine starts services in the order of their health. WAIT_FOR holds addresses, separated by blanks:
postgresql://… waits until the server lets this user in, http://… until it answers 200, tcp://host:port until somebody
listens, and the words `airflow-migrations` and `churn-migrations` until these databases are those of this image.
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
"""Seconds. A service that does not come in this time needs a person; the engine starts us again."""

AIRFLOW_MIGRATIONS, CHURN_MIGRATIONS = "airflow-migrations", "churn-migrations"


def main() -> None:
    # The first process of a container has no default for it: whoever stops us would wait for the kill.
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
    """Return in words why what is at `address` cannot be used yet, None where it can."""
    if address == AIRFLOW_MIGRATIONS:
        done = subprocess.run(["airflow", "db", "check-migrations", "--migration-wait-timeout", "300"], check=False)
        return f"exit status {done.returncode}" if done.returncode else None
    if address == CHURN_MIGRATIONS:
        # Where tasks work.
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
        # What is wrong with it would be said with a part of it, which may be of the password.
        sys.exit("WAIT_FOR holds an address that is none")
    return None


def _postgres_refuses(url: str) -> str | None:
    # Only who waits for Postgres pays for it.
    import psycopg  # noqa: PLC0415

    from churn.postgres.database_url import BadDatabaseUrl, parts_of  # noqa: PLC0415

    try:
        # libpq quotes what it cannot read, with the password.
        parts_of(url)
        psycopg.connect(url, connect_timeout=5).close()
    except BadDatabaseUrl as error:
        sys.exit(
            f"WAIT_FOR names an address of Postgres that is {error}; docs/containers.md says what passwords may hold"
        )
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
