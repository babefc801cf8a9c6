"""COPY of Arrow tables into Postgres, within the caller's transaction."""

import io
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain

import pyarrow as pa
import pyarrow.csv
from psycopg import sql

from churn.postgres.database import Connection, statement

ROWS_PER_WRITE = 65_536
PARTS_AHEAD = 8
"""Encoded batches waiting to be written: enough to keep the server busy, in about 50 MB."""


def copy_rows(connection: Connection, table: sql.Identifier, rows: Iterable[pa.Table]) -> int:
    """Append Arrow tables to the columns of the same names in `table`, and return the number of rows."""
    with closing(_ahead(_encoded(rows))) as parts:
        first = next(parts, None)
        if first is None:
            return 0
        columns = sql.SQL(", ").join(map(sql.Identifier, first[0]))
        cursor = connection.cursor()
        with cursor.copy(sql.SQL(statement("partitions/copy")).format(table=table, columns=columns)) as copy:
            for _, data in chain([first], parts):
                copy.write(data)
        return cursor.rowcount


Part = tuple[list[str], memoryview]


def _encoded(rows: Iterable[pa.Table]) -> Iterator[Part]:
    for table in rows:
        for batch in table.to_batches(max_chunksize=ROWS_PER_WRITE):
            buffer = io.BytesIO()
            pyarrow.csv.write_csv(batch, buffer, pyarrow.csv.WriteOptions(include_header=False))
            yield table.column_names, buffer.getbuffer()


def _ahead(parts: Iterator[Part]) -> Generator[Part, None, None]:
    """Yield the parts, while a thread reads, parses and encodes the next ones."""
    with ThreadPoolExecutor(1) as thread:
        upcoming = deque(thread.submit(next, parts, None) for _ in range(PARTS_AHEAD))
        while (part := upcoming.popleft().result()) is not None:
            upcoming.append(thread.submit(next, parts, None))
            yield part
