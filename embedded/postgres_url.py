"""The URL of a Postgres database in the form that each client takes: libpq, SQLAlchemy, Airflow."""

from urllib.parse import quote

from churn.postgres.database_url import make_url, parts_of


def database_url(server: str, database: str) -> str:
    """Return the libpq URI of `database` on `server`. SQLAlchemy takes it too, with a driver (see with_driver).

    Args:
        server: a libpq URI or connection string of any database of the server; its database is replaced.

    Raises:
        churn.postgres.database_url.BadDatabaseUrl: `server` is not a libpq URI.
    """
    return _url(server, database, socket_in_place_of_host=False)


def airflow_connection(server: str, database: str) -> str:
    """Return `database` on `server` as the URI of an Airflow connection, with a socket directory as encoded host."""
    return _url(server, database, socket_in_place_of_host=True)


def with_driver(url: str, driver: str) -> str:
    """Return `url` with the SQLAlchemy driver `driver`."""
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
