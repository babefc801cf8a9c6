"""The feature views that the online stores support: one join key, and typed columns."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from feast import FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.types import Bool, Float64, Int64, String

# {Feast type: (Postgres type, Arrow type, field of Feast's Value)}
TYPES = {
    Int64: ("bigint", pa.int64(), "int64_val"),
    Float64: ("double precision", pa.float64(), "double_val"),
    Bool: ("boolean", pa.bool_(), "bool_val"),
    String: ("text", pa.string(), "string_val"),
}


class UnsupportedView(ValueError):
    """A feature view with several join keys or an unsupported type."""


def join_key_of(view: FeatureView) -> str:
    if len(view.join_keys) != 1:
        raise UnsupportedView(f"{view.name} has the join keys {view.join_keys}: this store takes one")
    return view.join_keys[0]


def type_of(view: FeatureView, field: Any) -> tuple[str, pa.DataType, str]:
    if field.dtype not in TYPES:
        known = ", ".join(str(dtype) for dtype in TYPES)
        raise UnsupportedView(f"{view.name}.{field.name} is of type {field.dtype}: this store holds {known}")
    return TYPES[field.dtype]


def columns_of(view: FeatureView) -> Mapping[str, str]:
    """Return {feature: Postgres type}, in the order of the view."""
    return {field.name: type_of(view, field)[0] for field in view.features}


def key_value(key: EntityKey) -> str:
    return key.entity_values[0].string_val
