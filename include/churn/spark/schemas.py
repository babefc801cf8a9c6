"""Spark's schemas of the tables in raw.* and snapshots.*, from the contract."""

from churn.drops.contract import (
    ACTIONS,
    LABELS,
    PAYMENTS,
    ROW_DATE,
    SUBSCRIPTIONS,
    SUPPORT,
    USAGE,
    USER_ID,
    USERS,
    Column,
    File,
    Kind,
)
from churn.drops.loading import ROW_DATES
from churn.drops.snapshots import ACTIONS_TABLE, DELIVERED_TABLES, LABELS_TABLE

TYPES = {
    Kind.TEXT: "STRING",
    Kind.DATE: "DATE",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.COUNT: "BIGINT",
    Kind.NUMBER: "DOUBLE",
}

MADE_OF = {
    "subscriptions_profile_snapshots": (USERS, SUBSCRIPTIONS),
    "usage_agg_30d_snapshots": (USAGE,),
    "payments_agg_90d_snapshots": (PAYMENTS,),
    "support_agg_90d_snapshots": (SUPPORT,),
    LABELS_TABLE: (LABELS,),
    ACTIONS_TABLE: (ACTIONS,),
}
"""The files whose columns each table has."""


def raw_schema(file: File) -> str:
    """Return the columns of a file's table in raw.*, in their order, as DDL."""
    dates = ["as_of DATE", *([f"{ROW_DATES[file]} DATE"] if file in ROW_DATES else [])]
    return ", ".join([*dates, *(_ddl(column) for column in file.columns if column is not ROW_DATE)])


def snapshot_schema(table: str) -> str:
    """Return the columns of a table in snapshots.* as DDL; Parquet files are read by their names."""
    known = "drop_as_of DATE" if table in DELIVERED_TABLES else "event_timestamp TIMESTAMP"
    columns = [column for file in MADE_OF[table] for column in file.columns if column not in (USER_ID, ROW_DATE)]
    return ", ".join([_ddl(USER_ID), "as_of DATE", known, *map(_ddl, columns)])


def _ddl(column: Column) -> str:
    return f"{column.name} {TYPES[column.kind]}"
