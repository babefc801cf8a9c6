"""Checks of Postgres: the server, its three databases, and the schema version of each."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg

from churn.postgres.database_url import url_on
from churn.postgres.migrate import MigrationError, find_missing
from embedded.operator.doctor.finding import Finding, bad, ok, some
from embedded.settings import Settings
from embedded.stack import postgres

HEADS = {"airflow": "migrations", "mlflow": "store/db_migrations"}
"""The directory of each package's Alembic migrations; database and package have the same name."""


def check_databases(settings: Settings) -> Iterator[Finding]:
    """Check the server and each database that exists."""
    server = settings.postgres_server
    try:
        with psycopg.connect(server, connect_timeout=5) as connection:
            yield judge_server(connection.info.server_version)
            there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
    except psycopg.Error as error:
        advice = "check CHURN_POSTGRES and the server" if settings.server else "make status shows the end of its log"
        yield bad("Postgres", " ".join(str(error).split()), advice)
        return
    yield judge_databases(there)
    for name in ("churn", *HEADS):
        if name in there:
            yield _schema(name, url_on(server, name))


def judge_server(version: int) -> Finding:
    """Judge the server's version in libpq's form: 180004 for 18.4."""
    found = f"{version // 10000}.{version % 10000}"
    if version >= postgres.OLDEST_SERVER:
        return ok("Postgres", found)
    return bad("Postgres", found, "15 or newer is needed: name another server in CHURN_POSTGRES")


def judge_databases(there: set[str]) -> Finding:
    missing = [name for name in postgres.DATABASES if name not in there]
    if missing:
        return bad("databases", f"no {some(missing)}", "make up creates them")
    return ok("databases", some(postgres.DATABASES))


def _schema(name: str, url: str) -> Finding:
    try:
        return _churn(url) if name == "churn" else judge_revision(name, _applied(url), _head(name))
    except psycopg.Error as error:
        return bad(
            f"schema of {name}",
            f"cannot be read: {' '.join(str(error).split())}",
            f"check that the server has free connections, and that the role of CHURN_POSTGRES, if set, owns {name}",
        )


def _churn(url: str) -> Finding:
    try:
        return judge_migrations(find_missing(url))
    except MigrationError as error:
        return bad("schema of churn", "its migrations differ from this code's", str(error))


def judge_migrations(missing: list[str]) -> Finding:
    if missing:
        return bad("schema of churn", f"{len(missing)} migrations are missing: {some(missing)}", "make up applies them")
    return ok("schema of churn", "every migration is applied")


def judge_revision(name: str, applied: str | None, head: str) -> Finding:
    """Compare the Alembic revision of the database with the newest of the installed package."""
    check = f"schema of {name}"
    if applied == head:
        return ok(check, f"at {head}")
    return bad(
        check,
        f"at {applied or 'nothing'}, and the installed {name} wants {head}",
        "run make down and make up to migrate it; if the database is newer, check out the code that migrated it",
    )


def _applied(url: str) -> str | None:
    with psycopg.connect(url, connect_timeout=5) as connection:
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            return None
    return found[0] if found else None


def _head(package: str) -> str:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 — with the package's own migrations, two seconds

    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return str(ScriptDirectory(str(Path(spec.origin).parent / HEADS[package])).get_current_head())
