"""Model input: a data frame with the columns of a feature service, one type per column."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from feast import FeatureService
from feast.types import Bool, Float64, Int64, String

from churn.features.store import feature_types

PANDAS_TYPES = {Int64: "int64", Float64: "float64", Bool: "object", String: "object"}


def to_frame(rows: Sequence[Mapping[str, Any]], service: FeatureService) -> pd.DataFrame:
    """Return online features, one mapping per customer with every feature of the service, as model input."""
    types = feature_types(service)
    return to_model_types(pd.DataFrame({name: [row[name] for row in rows] for name in types}, dtype=object), types)


def to_model_types(frame: pd.DataFrame, types: Mapping[str, Any]) -> pd.DataFrame:
    """Convert every column to its model type; NULL becomes None in booleans and texts, NaN in numbers."""
    for name, dtype in types.items():
        column = frame[name]
        to = PANDAS_TYPES[dtype]
        if to == "object":
            frame[name] = column.astype(object).where(column.notna(), None)
        else:
            frame[name] = column.astype("float64" if column.isna().any() else to)
    return frame
