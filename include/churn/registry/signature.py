"""MLflow signatures: names and types of a model's inputs."""

from collections.abc import Mapping
from typing import Any

from feast.types import Bool, Float64, Int64, String
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

MLFLOW_TYPES = {Int64: DataType.long, Float64: DataType.double, Bool: DataType.boolean, String: DataType.string}


def signature_of(types: Mapping[str, Any]) -> ModelSignature:
    """Return the signature of a model over features of these Feast types."""
    inputs: list[ColSpec | TensorSpec] = [ColSpec(MLFLOW_TYPES[dtype], name) for name, dtype in types.items()]
    return ModelSignature(Schema(inputs), Schema([ColSpec(DataType.boolean)]))


def columns_of(signature: ModelSignature | None) -> list[tuple[str, str]]:
    """Return name and type of each input, in order; empty without a signature."""
    return [(column.name, column.type.name) for column in signature.inputs] if signature else []
