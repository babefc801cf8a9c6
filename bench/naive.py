"""The naive pipeline up to the snapshots: pandas reads and checks, `to_sql` upserts, and SQL upserts between tables.

It is small and fair: the same tables, types and keys as ours, one connection and one transaction, pandas' documented
recipe for an upsert, and SQLAlchemy's fastest way to send rows: batches of a thousand.
"""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from psycopg import sql
from sqlalchemy import Connection, create_engine
from sqlalchemy.dialects.postgresql import insert

from bench.measure import Watch
from churn.as_of import event_timestamp
from churn.drops.contract import LABELS, REQUIRED_FILES, USERS, Column, File, Kind
from churn.postgres.database import connect
from embedded.postgres_url import with_driver

SQL = Path(__file__).parent / "sql" / "naive"
GENERATED_FILES = (*REQUIRED_FILES, LABELS)
"""The files that generated drops have."""

ROWS_PER_CHUNK = 10_000
ROWS_PER_BATCH = 1_000
PANDAS_TYPES = {Kind.TEXT: "string", Kind.BOOLEAN: "boolean", Kind.COUNT: "Int64", Kind.NUMBER: "Float64"}
POSTGRES_TYPES = {
    Kind.TEXT: "text",
    Kind.DATE: "date",
    Kind.BOOLEAN: "boolean",
    Kind.COUNT: "bigint",
    Kind.NUMBER: "double precision",
}


class DropRefused(ValueError):
    """A drop fails a check."""


def columns_of(file: File) -> list[Column]:
    """Return the columns that the file has in generated drops: all but the date of labels."""
    return [column for column in file.columns if column.required or column.nullable]


def create_table(name: sql.Identifier, file: File, *more: str) -> sql.Composed:
    """Return the statement that creates a table of the file's columns and `more`."""
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(POSTGRES_TYPES[column.kind]))
        for column in columns_of(file)
    ]
    return sql.SQL("CREATE TABLE {} ({})").format(name, sql.SQL(", ").join([*columns, *map(sql.SQL, more)]))


def prepare_tables(url: str) -> None:
    with connect(url) as connection:
        connection.execute("CREATE SCHEMA raw")
        for file in GENERATED_FILES:
            key = "PRIMARY KEY (as_of, user_id)"
            connection.execute(create_table(sql.Identifier("raw", file.table), file, "as_of date", key))
        connection.execute((SQL / "tables.sql").read_bytes())


def load(watch: Watch, url: str, landing: Path, as_of: date) -> None:
    engine = create_engine(
        with_driver(url, "psycopg2"), executemany_mode="values_plus_batch", executemany_batch_page_size=ROWS_PER_BATCH
    )
    with watch, engine.begin() as connection:
        customers = None
        for file in GENERATED_FILES:
            frame = read_and_check(landing / as_of.isoformat() / file.name, file, customers)
            customers = frame["user_id"] if file is USERS else customers
            frame["as_of"] = as_of
            frame.to_sql(
                file.table,
                connection,
                schema="raw",
                if_exists="append",
                index=False,
                method=_upsert,
                chunksize=ROWS_PER_CHUNK,
            )


def read_and_check(path: Path, file: File, customers: "pd.Series[str] | None") -> pd.DataFrame:
    """Return the file's rows.

    Raises:
        DropRefused: a value is missing or negative, or the customers are not those of the users file, each once.
        ValueError: a value is not of its type.
    """
    columns = columns_of(file)
    frame = pd.read_csv(
        path,
        dtype={column.name: PANDAS_TYPES[column.kind] for column in columns if column.kind in PANDAS_TYPES},
        parse_dates=[column.name for column in columns if column.kind is Kind.DATE],
        true_values=["True"],
        false_values=["False"],
    )
    for column in columns:
        values = frame[column.name]
        if not column.nullable and values.isna().any():
            raise DropRefused(f"{path.name}: {column.name} is empty")
        if column.kind in {Kind.COUNT, Kind.NUMBER} and (values < 0).any():
            raise DropRefused(f"{path.name}: {column.name} is negative")
    if frame["user_id"].duplicated().any():
        raise DropRefused(f"{path.name}: a customer twice")
    if customers is not None and not frame["user_id"].isin(customers).all():
        raise DropRefused(f"{path.name}: a customer who is not in {USERS.name}")
    if customers is not None and file is not LABELS and len(frame) != len(customers):
        raise DropRefused(f"{path.name}: a customer is missing")
    return frame


def _upsert(table: Any, connection: Connection, keys: list[str], rows: Iterable[tuple[Any, ...]]) -> int:
    """pandas' documented recipe for a method of to_sql, with DO UPDATE."""
    statement = insert(table.table)
    changes = {key: statement.excluded[key] for key in keys if key not in {"as_of", "user_id"}}
    statement = statement.on_conflict_do_update(index_elements=["as_of", "user_id"], set_=changes)
    return connection.execute(statement, [dict(zip(keys, row, strict=True)) for row in rows]).rowcount


def snapshot(watch: Watch, url: str, _: Path, as_of: date) -> None:
    values = {"as_of": as_of, "event_timestamp": event_timestamp(as_of)}
    with watch, connect(url) as connection:
        for statement in (SQL / "snapshots.sql").read_text(encoding="utf-8").split(";\n"):
            if statement.strip():
                connection.execute(statement, values)
