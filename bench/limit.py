"""The limits: the same bytes through the same server, with nothing checked, indexed or kept consistent.

They run in the database that ours has just filled.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from adbc_driver_postgresql import dbapi
from psycopg import sql

from bench.measure import Watch
from bench.naive import GENERATED_FILES, create_table
from churn.as_of import event_timestamp
from churn.drops.snapshots import FEATURE_TABLES, LABELS_TABLE
from churn.features.store import FEATURE_SERVICE, open_store
from churn.postgres.database import Connection, connect

BYTES_PER_WRITE = 2**18


def load(watch: Watch, url: str, landing: Path, as_of: date) -> None:
    """COPY each file as it lies on the disk into a table without an index."""
    with connect(url) as connection:
        _fresh_schema(connection)
        for file in GENERATED_FILES:
            connection.execute(create_table(_limit(file.table), file))
    with watch, connect(url) as connection:
        for file in GENERATED_FILES:
            query = sql.SQL("COPY {} FROM STDIN (FORMAT csv, HEADER)").format(_limit(file.table))
            path = landing / as_of.isoformat() / file.name
            with path.open("rb") as stream, connection.cursor().copy(query) as copy:
                while data := stream.read(BYTES_PER_WRITE):
                    copy.write(data)


def snapshot(watch: Watch, url: str, _: Path, as_of: date) -> None:
    """INSERT … SELECT the rows of the snapshots into tables without an index."""
    columns = sql.SQL("*")
    rows = {table: (columns, "event_timestamp", event_timestamp(as_of)) for table in FEATURE_TABLES}
    _insert(watch, url, {**rows, LABELS_TABLE: (columns, "drop_as_of", as_of)})


def materialize(watch: Watch, url: str, _: Path, as_of: date) -> None:
    """INSERT … SELECT the columns of the feature views into tables without an index."""
    rows = {}
    for table, features in _feature_tables(url).items():
        columns = sql.SQL(", ").join(map(sql.Identifier, ("user_id", "event_timestamp", *features)))
        rows[table] = (columns, "event_timestamp", event_timestamp(as_of))
    _insert(watch, url, rows)


def _insert(watch: Watch, url: str, rows: Mapping[str, tuple[sql.Composable, str, object]]) -> None:
    statements = []
    with connect(url) as connection:
        _fresh_schema(connection)
        for table, (columns, key, value) in rows.items():
            query = sql.SQL("SELECT {} FROM {} WHERE {} = {}").format(
                columns, sql.Identifier("snapshots", table), sql.Identifier(key), sql.Literal(value)
            )
            connection.execute(sql.SQL("CREATE TABLE {} AS {} WITH NO DATA").format(_limit(table), query))
            statements.append(sql.SQL("INSERT INTO {} {}").format(_limit(table), query))
    with watch, connect(url) as connection:
        for statement in statements:
            connection.execute(statement)


def training_set(watch: Watch, url: str, _: Path, as_of: date) -> int:
    """Read the columns of a training set into Arrow, joined by equality; return the number of its rows."""
    tables = _feature_tables(url)
    features = [sql.Identifier(table, name) for table, names in tables.items() for name in names]
    when = sql.Literal(event_timestamp(as_of))
    joins = [
        sql.SQL("JOIN {} {alias} ON {alias}.user_id = l.user_id AND {alias}.event_timestamp = {when}").format(
            sql.Identifier("snapshots", table), alias=sql.Identifier(table), when=when
        )
        for table in tables
    ]
    query = sql.SQL("SELECT l.user_id, l.churn_label, {} FROM {} l {} WHERE l.as_of = {}").format(
        sql.SQL(", ").join(features), sql.Identifier("snapshots", LABELS_TABLE), sql.SQL(" ").join(joins),
        sql.Literal(as_of),
    )  # fmt: skip
    with connect(url) as connection:
        statement = query.as_string(connection)
    with watch, dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        cursor.execute(statement)
        rows = cursor.fetch_arrow_table()
    return rows.num_rows


def _feature_tables(url: str) -> dict[str, list[str]]:
    """Return {table of the snapshots: its features} of the feature service."""
    store = open_store(url)
    found = {}
    for projection in store.get_feature_service(FEATURE_SERVICE).feature_view_projections:
        source = store.get_feature_view(projection.name).batch_source
        assert source is not None
        table = source.get_table_query_string().split(".")[-1]
        found[table] = [field.name for field in projection.features]
    return found


def _fresh_schema(connection: Connection) -> None:
    connection.execute("DROP SCHEMA IF EXISTS bench_limit CASCADE")
    connection.execute("CREATE SCHEMA bench_limit")


def _limit(table: str) -> sql.Identifier:
    return sql.Identifier("bench_limit", table)
