"""The content of a database, byte for byte, to compare before and after."""

from psycopg import sql

from churn.postgres.database import connect

Dump = dict[tuple[str, str], bytes]


def dump(database_url: str, *schemas: str) -> Dump:
    """Return every row of every table of the schemas (default: all) in COPY format, sorted."""
    with connect(database_url) as connection:
        tables = connection.execute(
            """
            SELECT schemaname, tablename FROM pg_tables
            WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
              AND (%(every)s OR schemaname = ANY(%(schemas)s))
            """,
            {"every": not schemas, "schemas": list(schemas)},
        ).fetchall()
        content = {}
        for schema, table in tables:
            query = sql.SQL("COPY (SELECT t FROM {} t ORDER BY t::text) TO STDOUT").format(
                sql.Identifier(schema, table)
            )
            with connection.cursor().copy(query) as copy:
                content[schema, table] = b"".join(copy)
    return content


def dump_of_drops(database_url: str) -> Dump:
    """Return the content of raw.* and snapshots.*, without the tables of times and revisions."""
    history = {("raw", "revisions"), ("raw", "withdrawals"), ("snapshots", "builds")}
    content = dump(database_url, "raw", "snapshots")
    # Whether an empty partition is there depends on history too.
    return {table: rows for table, rows in content.items() if rows and table not in history}
