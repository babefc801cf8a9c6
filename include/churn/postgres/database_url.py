"""The libpq URI of the database: built from an Airflow connection, and split for Feast's configuration.

It may hold a password, so no message quotes it.
"""

import argparse
import os
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

DATABASE = "churn"
"""The database when a connection names none."""


def ask_for_url(program: str, description: str | None) -> str:
    """Return the URI that a program's command line or CHURN_DATABASE_URL gives; without one the program ends."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--database-url", default=os.environ.get("CHURN_DATABASE_URL"), help="a libpq URI")
    arguments = parser.parse_args()
    if not arguments.database_url:
        parser.error("set CHURN_DATABASE_URL or give --database-url")
    return str(arguments.database_url)


class AirflowConnection(Protocol):
    """The fields of an Airflow connection that a libpq URI needs; an empty field is None or ""."""

    host: Any
    port: Any
    login: Any
    password: Any
    schema: Any

    @property
    def extra_dejson(self) -> dict[str, Any]: ...


class BadDatabaseUrl(ValueError):
    """Not a libpq URI. The text is not quoted, unlike in libpq's own message: it may hold an unescaped password."""


def make_url(
    *,
    host: str | None,
    port: int | None,
    user: str | None,
    password: str | None,
    database: str,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Return a libpq URI. A socket directory and its port go into the query, as SQLAlchemy requires."""
    login = quote(user or "", safe="") + (f":{quote(password, safe='')}" if password else "")
    query = dict(options or {})
    if host and host.startswith("/"):
        query, address = {"host": host, **({"port": port} if port else {}), **query}, ""
    else:
        # An IPv6 address contains colons.
        address = (f"[{host}]" if host and ":" in host else host or "") + (f":{port}" if port else "")
    text = f"postgresql://{login + '@' if login else ''}{address}/{quote(database, safe='')}"
    return f"{text}?{urlencode(query, quote_via=quote, safe='/')}" if query else text


def url_of(connection: AirflowConnection) -> str:
    """Return the libpq URI of an Airflow connection. Without a database (field Schema), it is `churn`."""
    return make_url(
        host=connection.host,
        port=connection.port,
        user=connection.login,
        password=connection.password,
        database=connection.schema or DATABASE,
        options=connection.extra_dejson,
    )


def parts_of(database_url: str) -> dict[str, str]:
    """Return the parameters of a libpq URI or connection string, by libpq's names.

    Raises:
        BadDatabaseUrl: `database_url` is not one, or an unescaped @ in the password splits it in the wrong place.
    """
    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(database_url).items() if value is not None}
    except psycopg.ProgrammingError:
        parts = None
    # Feast and Airflow take a single host and port.
    if parts is None or "@" in parts.get("host", "") or not parts.get("port", "5432").isdecimal():
        raise BadDatabaseUrl(
            "not a libpq URI like postgresql://user:password@host:5432/database; in a password write @ : / ? # % as "
            "%40 %3A %2F %3F %23 %25"
        )
    return parts


def url_on(server: str, database: str) -> str:
    """Return the libpq URI of `database` on `server`. SQLAlchemy takes it too, with a driver.

    Args:
        server: a libpq URI or connection string of any database of the server; its database is replaced.

    Raises:
        BadDatabaseUrl: `server` is not a libpq URI.
    """
    parts = parts_of(server)
    parts.pop("dbname", None)
    host, port, user, password = (parts.pop(name, None) for name in ("host", "port", "user", "password"))
    return make_url(
        host=host, port=int(port) if port else None, user=user, password=password, database=database, options=parts
    )


def feast_environment(database_url: str) -> dict[str, str]:
    """Return the variables that feature_repo/feature_store.yaml reads.

    Args:
        database_url: a libpq URI, postgresql://….

    Raises:
        BadDatabaseUrl: `database_url` is not a libpq URI.
    """
    parts = parts_of(database_url)
    return {
        "CHURN_DATABASE_URL": database_url,
        "CHURN_SQLALCHEMY_URL": "postgresql+psycopg://" + database_url.split("://", 1)[1],
        "CHURN_PGHOST": str(parts.get("host") or "localhost"),
        "CHURN_PGPORT": str(parts.get("port") or 5432),
        "CHURN_PGDATABASE": str(parts["dbname"]),
        "CHURN_PGUSER": str(parts.get("user") or "postgres"),
        "CHURN_PGPASSWORD": str(parts.get("password") or ""),
        "CHURN_PGSSLMODE": str(parts.get("sslmode") or "prefer"),
    }
