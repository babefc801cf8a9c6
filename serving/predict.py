"""POST /predict and GET /features/<user_id>: one customer's churn probability, and what it rests on."""

from datetime import UTC, date, datetime
from typing import Literal

from feast import FeatureService
from flask_openapi3 import APIBlueprint, Tag

from churn.features import OnlineFeatures
from serving import state
from serving.metrics import PREDICTIONS
from serving.model import ServedModel
from serving.problems import Problem
from serving.schemas import (
    CustomerFeatures,
    FeaturesPath,
    Prediction,
    PredictRequest,
    answers,
)

api = APIBlueprint("predict", __name__, abp_tags=[Tag(name="churn")])

_FEATURE_PROBLEMS = (
    "unknown-user",
    "incomplete-features",
    "stale-features",
    "invalid-request",
    "feature-store-unavailable",
)
_BODY_PROBLEMS = ("malformed-json", "body-too-large", "not-json", "model-unavailable")


@api.post(
    "/predict",
    summary="Will this customer leave?",
    responses=answers(Prediction, *_BODY_PROBLEMS, *_FEATURE_PROBLEMS),
)
def predict(body: PredictRequest) -> dict:
    serving = state.current()
    model = serving.model.current()
    service = serving.features.service(model.feature_service, model.version)
    customer = _read(body.user_id, service)
    probability = model.churn_probability(customer.features, service)
    return _prediction(model, customer, probability).model_dump(mode="json")


# An id may hold a slash, hence path:.
@api.get(
    "/features/<path:user_id>",
    summary="The online features of a customer",
    responses=answers(CustomerFeatures, *_FEATURE_PROBLEMS),
)
def features(path: FeaturesPath) -> dict:
    return _read(path.user_id, state.current().feature_service()).model_dump(mode="json")


def usable(
    user_id: str, service: str, found: OnlineFeatures, *, today: date, max_age_days: int | None
) -> CustomerFeatures:
    """Return what was found when it can be answered with: there, whole, and not older than the limit.

    Raises:
        Problem: unknown-user, incomplete-features or stale-features.
    """
    missing = list(found.missing)
    if not found.values:
        raise Problem(
            "unknown-user", f"customer {user_id!r} is not among the online features", missing_features=missing
        )
    if missing or found.as_of is None:
        raise Problem(
            "incomplete-features",
            f"customer {user_id!r} lacks {len(missing)} features: materialize the newest AS_OF again",
            missing_features=missing,
        )
    age = (today - found.as_of).days
    if max_age_days is not None and age > max_age_days:
        raise Problem(
            "stale-features",
            f"the features are of AS_OF {found.as_of}, {age} days ago; the limit is {max_age_days}",
        )
    return CustomerFeatures(
        user_id=user_id, features_as_of=found.as_of, feature_service=service, features=dict(found.values)
    )


def _read(user_id: str, service: FeatureService) -> CustomerFeatures:
    serving = state.current()
    found = serving.features.read(service, user_id)
    today, limit = datetime.now(UTC).date(), serving.settings.max_features_age_days
    return usable(user_id, service.name, found, today=today, max_age_days=limit)


def _prediction(model: ServedModel, customer: CustomerFeatures, probability: float) -> Prediction:
    prediction: Literal[0, 1] = 1 if probability >= model.threshold else 0
    PREDICTIONS.labels(prediction).inc()
    return Prediction(
        user_id=customer.user_id,
        prediction=prediction,
        churn_probability=probability,
        threshold=model.threshold,
        model=model.identity(),
        features_as_of=customer.features_as_of,
        features_used=customer.features,
    )
