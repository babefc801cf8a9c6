"""Monthly partitions: the table that the rows of a day are written to.

The first day of a month writes into a new table, which is indexed once it is full. Later days write into the existing
partition.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from psycopg import sql

from churn.postgres.database import Connection, execute, one


@contextmanager
def month(connection: Connection, table: str, day: date) -> Iterator[sql.Identifier]:
    """Yield the table to write the rows of `day` to. When the block ends, it is attached to `table` and analyzed.

    Args:
        table: a schema-qualified table, partitioned by month.
        day: the value of the partition key.
    """
    where = {"table": table, "day": day}
    schema, name, is_new = one(connection, "partitions/month", where)
    partition = sql.Identifier(schema, name)
    yield partition
    if is_new:
        execute(connection, "partitions/attach", where)
    # The planner needs the row count for the next statement, mainly Feast's join.
    execute(connection, "partitions/analyze", table=partition)
