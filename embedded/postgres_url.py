"""One Postgres server, written down the way each of its clients wants it."""

from urllib.parse import quote

from churn.postgres.database_url import make_url, parts_of


def database_url(server: str, database: str) -> str:
    """Return the URI of `database` on the server that `server` names, in the form that libpq takes.

    SQLAlchemy takes it too, with a driver named (see with_driver).

    Args:
        server: a libpq URI or connection string of any database of the server; its database is ignored.
        database: the database to name instead.

    Raises:
        churn.postgres.database_url.BadDatabaseUrl: `server` is not a libpq URI.
    """
    return _url(server, database, socket_in_place_of_host=False)


def airflow_connection(server: str, database: str) -> str:
    """Return `database` on the server that `server` names, as the URI of an Airflow connection.

    Only there a socket directory is a host like any other, percent-encoded.
    """
    return _url(server, database, socket_in_place_of_host=True)


def with_driver(url: str, driver: str) -> str:
    """Return `url` for SQLAlchemy, with the driver that it shall use."""
    return url.replace("postgresql://", f"postgresql+{driver}://", 1)


def _url(server: str, database: str, *, socket_in_place_of_host: bool) -> str:
    parts = parts_of(server)
    parts.pop("dbname", None)
    host, port = parts.pop("host", None), parts.pop("port", None)
    return make_url(
        host=quote(host, safe=":,") if host and socket_in_place_of_host else host,
        port=int(port) if port else None,
        user=parts.pop("user", None),
        password=parts.pop("password", None),
        database=database,
        options=parts,
    )
