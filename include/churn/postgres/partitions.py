"""Monthly partitions: where the rows of a day are written to.

The first day of a month writes into a new table that gets its indexes when it is full, at once; the others into the
partition that is there, whose indexes grow with the rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from psycopg import sql

from churn.postgres.database import Connection, execute


@contextmanager
def month(connection: Connection, table: str, day: date) -> Iterator[sql.Identifier]:
    """Give the table to write the rows of `day` to, in the block; at its end they are rows of `table`.

    Args:
        table: a table with its schema, partitioned by months of the column that `day` is a value of.
    """
    where = {"table": table, "day": day}
    found = execute(connection, "partitions/month", where).fetchone()
    assert found is not None
    schema, name, is_new = found
    partition = sql.Identifier(schema, name)
    yield partition
    if is_new:
        execute(connection, "partitions/attach", where)
    # The next statement that reads these rows, Feast's join foremost, must know how many there are.
    execute(connection, "partitions/analyze", table=partition)
