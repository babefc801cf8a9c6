"""The URL of a Postgres database in the form that SQLAlchemy and Airflow take."""

from urllib.parse import quote

from psycopg.conninfo import make_conninfo

from churn.postgres.database_url import parts_of, url_on


def airflow_connection(server: str, database: str) -> str:
    """Return `database` on `server` as the URI of an Airflow connection, with a socket directory as encoded host."""
    host = parts_of(server).get("host")
    return url_on(make_conninfo(server, host=quote(host, safe=":,")) if host else server, database)


def with_driver(url: str, driver: str) -> str:
    """Return `url` with the SQLAlchemy driver `driver`."""
    return url.replace("postgresql://", f"postgresql+{driver}://", 1)
