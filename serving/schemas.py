"""Requests and answers, declared once: validation, answers and /openapi.json all come from here."""

from collections.abc import Callable, Iterable
from datetime import date
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from serving.problems import TYPES

# Taken as it is, never stripped. Postgres cannot hold a NUL in a text, so no customer has one in the id.
UserId = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=256, pattern=r"^[^\x00]+$"),
    Field(description="The customer's id, exactly as in the drop"),
]
# A null is legitimate: a customer with no internet service has no streaming plan.
FeatureValue = bool | int | float | str | None


@cache
def _once(function: Callable[..., dict[str, Any]], *arguments: Any, **named: Any) -> dict[str, Any]:
    return function(*arguments, **named)


class PredictRequest(BaseModel):
    """Which customer is asked about. Further fields are ignored: a client may send more than we read."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"user_id": "7892-POOKP"}]})

    user_id: UserId


class PredictQuery(BaseModel):
    explain: bool = Field(default=False, description="Say which features moved this prediction most")

    @classmethod
    def model_json_schema(cls, *arguments: Any, **named: Any) -> dict[str, Any]:
        """Return the schema, worked out once: flask-openapi3 asks for it at every request, and that takes as long as
        all the rest."""
        return _once(super().model_json_schema, *arguments, **named)


class BatchRequest(BaseModel):
    """Which customers are asked about."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"user_ids": ["7892-POOKP", "999999"]}]})

    user_ids: list[UserId] = Field(min_length=1, max_length=1000)


class FeaturesPath(BaseModel):
    user_id: UserId


class ModelIdentity(BaseModel):
    """The version in stage Production that answered."""

    name: str
    version: int
    as_of: date


class Effect(BaseModel):
    """What one feature did to a prediction: the probability less what it is on average where this feature alone has the
    values of other customers."""

    feature: str
    value: FeatureValue
    effect: float = Field(ge=-1, le=1)


class Explanation(BaseModel):
    """Which features moved a prediction, the one that did most first; none for a version that knows no others."""

    method: str
    effects: list[Effect]


class Prediction(BaseModel):
    """The answer about one customer: prediction is 1 where churn_probability ≥ threshold."""

    user_id: str
    prediction: Literal[0, 1]
    churn_probability: float = Field(ge=0, le=1)
    threshold: float
    model: ModelIdentity
    features_as_of: date
    features_used: dict[str, FeatureValue]
    explanation: Explanation | None = Field(default=None, description="Only where it was asked for")


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
        default=None, description="Why this may not be what stage Production holds now: the last poll's failure"
    )
    registry: list[str] = Field(
        default=[], description="What is odd in the model registry, such as two versions in Production, and what counts"
    )


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(examples=sorted(TYPES))
    title: str
    status: int
    detail: str
    missing_features: list[str] = Field(
        default=[], description="unknown-user and incomplete-features: the features that the customer lacks"
    )
    reasons: list[str] = Field(default=[], description="not-ready: each reason, its type first")
    workers_behind: int = Field(default=0, description="not-ready: workers that have no model though others have")


class BatchResult(BaseModel):
    """What came of one of the customers: a prediction, or the problem with it."""

    user_id: str
    prediction: Prediction | None = None
    problem: ProblemDetails | None = None


class BatchAnswer(BaseModel):
    """A result for each of the `user_ids`, in their order."""

    results: list[BatchResult]


def answers(success: type[BaseModel] | dict[str, Any], *types: str) -> dict[str | int | HTTPStatus, Any]:
    """Return the OpenAPI responses of an operation: its success, problems of `types`, and any other problem."""
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
