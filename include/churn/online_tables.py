"""How the online store lies in Postgres: a table per feature view, a partition of it per build, typed columns."""

from datetime import date
from typing import Any

import pyarrow as pa
from feast import FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.types import Bool, Float64, Int64, String
from psycopg import sql

from churn.database import Connection, execute

# Feast's type: the column's type in Postgres, in Arrow, and the field of Feast's value.
TYPES = {
    Int64: ("bigint", pa.int64(), "int64_val"),
    Float64: ("double precision", pa.float64(), "double_val"),
    Bool: ("boolean", pa.bool_(), "bool_val"),
    String: ("text", pa.string(), "string_val"),
}


class UnsupportedView(ValueError):
    """A feature view that this store cannot hold."""


def table_of(view: str) -> sql.Identifier:
    """Return the name of the table that holds the published builds of the view of that name."""
    return sql.Identifier("online", view)


def build_table_of(view: FeatureView, build: int) -> sql.Identifier:
    """Return the name of the table that holds one build of the view."""
    return sql.Identifier("online", f"{view.name}_{build}")


def join_key_of(view: FeatureView) -> str:
    if len(view.join_keys) != 1:
        raise UnsupportedView(f"{view.name} has the join keys {view.join_keys}: this store takes one")
    return view.join_keys[0]


def type_of(view: FeatureView, field: Any) -> tuple[str, pa.DataType, str]:
    if field.dtype not in TYPES:
        known = ", ".join(str(dtype) for dtype in TYPES)
        raise UnsupportedView(f"{view.name}.{field.name} is of type {field.dtype}: this store holds {known}")
    return TYPES[field.dtype]


def key_value(key: EntityKey) -> str:
    return key.entity_values[0].string_val


def build_being_written(connection: Connection, as_of: date) -> int:
    """Return the number of the build that a materialization of `as_of` has begun.

    Raises:
        RuntimeError: none has.
    """
    found = execute(connection, "online/build_being_written", {"as_of": as_of}).fetchone()
    if found is None:
        raise RuntimeError(
            f"no build of {as_of} is being written: materialize through churn.materialization (or trigger the DAG "
            "churn_materialize), which publishes what it wrote"
        )
    return found[0]
