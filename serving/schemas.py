"""Request and response models, the single source of validation, serialization and /openapi.json."""

from collections.abc import Callable, Iterable
from datetime import date
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from serving.problems import TYPES

# Never stripped. Postgres text cannot contain NUL, so no customer id does.
UserId = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=256, pattern=r"^[^\x00]+$"),
    Field(description="The customer's id, exactly as in the drop"),
]
# NULL is valid: a customer without internet service has no streaming plan.
FeatureValue = bool | int | float | str | None


MOST_BATCH_IDS = 1000
MOST_BATCH_BYTES = MOST_BATCH_IDS * 3200
"""An id has 256 characters; JSON may escape a character as twelve bytes."""


@cache
def _once(function: Callable[..., dict[str, Any]], *arguments: Any, **named: Any) -> dict[str, Any]:
    return function(*arguments, **named)


class PredictRequest(BaseModel):
    """The customer to score. Additional fields are ignored."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"user_id": "7892-POOKP"}]})

    user_id: UserId


class PredictQuery(BaseModel):
    explain: bool = Field(default=False, description="Add the features that moved this prediction most")

    @classmethod
    def model_json_schema(cls, *arguments: Any, **named: Any) -> dict[str, Any]:
        """Return the schema, cached: flask-openapi3 asks for it on every request, which would double the time."""
        return _once(super().model_json_schema, *arguments, **named)


class BatchRequest(BaseModel):
    """The customers to score."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"user_ids": ["7892-POOKP", "999999"]}]})

    user_ids: list[UserId] = Field(min_length=1, max_length=MOST_BATCH_IDS)


class FeaturesPath(BaseModel):
    user_id: UserId


class ModelIdentity(BaseModel):
    """The model version that made the prediction."""

    name: str
    version: int
    as_of: date


class Effect(BaseModel):
    """The effect of one feature: the probability minus its mean over other customers' values of this feature."""

    feature: str
    value: FeatureValue
    effect: float = Field(ge=-1, le=1)


class Explanation(BaseModel):
    """The effects of all features, largest first; empty if the version has no background rows."""

    method: str
    effects: list[Effect]


class Prediction(BaseModel):
    """The prediction for one customer: 1 if churn_probability ≥ threshold."""

    user_id: str
    prediction: Literal[0, 1]
    churn_probability: float = Field(ge=0, le=1)
    threshold: float
    model: ModelIdentity
    features_as_of: date
    features_used: dict[str, FeatureValue]
    explanation: Explanation | None = Field(default=None, description="Only if requested")


class CustomerFeatures(BaseModel):
    """The online features of one customer, in the order of the feature service."""

    user_id: str
    features_as_of: date
    feature_service: str
    features: dict[str, FeatureValue]


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"
    model: ModelIdentity
    trouble: str | None = Field(
        default=None, description="Why this may not be the version in stage Production: the last poll's failure"
    )
    registry: list[str] = Field(
        default=[], description="Odd states of the model registry, such as two versions in Production"
    )


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(examples=sorted(TYPES))
    title: str
    status: int
    detail: str
    missing_features: list[str] = Field(
        default=[], description="unknown-user and incomplete-features: the customer's missing features"
    )
    reasons: list[str] = Field(default=[], description="not-ready: each reason, its type first")
    workers_behind: int = Field(default=0, description="not-ready: workers that lack the model that others have")


class BatchResult(BaseModel):
    """The prediction for one customer, or the problem."""

    user_id: str
    prediction: Prediction | None = None
    problem: ProblemDetails | None = None


class BatchAnswer(BaseModel):
    """One result per `user_ids` entry, in order."""

    results: list[BatchResult]


def answers(success: type[BaseModel] | dict[str, Any], *types: str) -> dict[str | int | HTTPStatus, Any]:
    """Return the OpenAPI responses of an operation: success, the problems of `types`, and a default."""
    by_status: dict[str, list[str]] = {"default": []}
    for type_ in types:
        by_status.setdefault(str(TYPES[type_][0]), []).append(type_)
    described: dict[str | int | HTTPStatus, Any] = {"200": success}
    described.update({status: _problem_response(of_status) for status, of_status in by_status.items()})
    return described


def _problem_response(types: Iterable[str]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
    return {
        "description": ", ".join(types) or "any other error",
        "content": {"application/problem+json": {"schema": schema}},
    }
