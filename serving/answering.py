"""Predictions for user ids: one read of their features, one predict call, and one model version for the whole batch."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Literal

from churn.features.lookup import OnlineLookup
from churn.features.store import OnlineFeatures
from churn.scoring.explanation import explain
from serving.logs import request_id
from serving.metrics import PREDICTIONS, PROBABILITY
from serving.prediction_log import Answered
from serving.problems import Problem
from serving.schemas import CustomerFeatures, Effect, Explanation, Prediction
from serving.served import Scored, ServedModel
from serving.state import Serving

METHOD = "prediction difference (Robnik-Šikonja and Kononenko, IEEE TKDE 20, 2008)"


def answer_one(serving: Serving, user_id: str, *, explained: bool = False) -> Prediction:
    """Return the prediction for a user, micro-batched with concurrent requests.

    Raises:
        Problem: the user cannot be scored.
    """
    return _answer(serving, serving.batches.ask(user_id), explained=explained)


def answer_all(serving: Serving, user_ids: Sequence[str]) -> list[Prediction | Problem]:
    """Return the prediction or the problem of each user, in their order.

    Raises:
        Problem: model-unavailable or feature-store-unavailable.
    """
    with serving.load.turn:
        scored = score_all(serving, user_ids)
    return [each if isinstance(each, Problem) else _answer(serving, each, explained=False) for each in scored]


def score_each(serving: Serving, user_ids: Sequence[str]) -> list[Scored | Problem]:
    """Return the score or the problem of each user, in their order. Never raises a Problem."""
    try:
        return score_all(serving, user_ids)
    except Problem as problem:
        return [problem] * len(user_ids)


def score_all(serving: Serving, user_ids: Sequence[str]) -> list[Scored | Problem]:
    """Return the score or the problem of each user, in their order.

    Raises:
        Problem: model-unavailable or feature-store-unavailable.
    """
    model = serving.model.current()
    customers = read_all(serving, model.lookup, user_ids)
    usable = [each for each in customers if isinstance(each, CustomerFeatures)]
    scores = iter(model.scorer.probabilities([each.features for each in usable]).tolist() if usable else [])
    return [each if isinstance(each, Problem) else Scored(model, each, next(scores)) for each in customers]


def read_all(serving: Serving, lookup: OnlineLookup, user_ids: Sequence[str]) -> list[CustomerFeatures | Problem]:
    """Return the usable features or the problem of each user, in their order.

    Raises:
        Problem: feature-store-unavailable.
    """
    today, limit = datetime.now(UTC).date(), serving.settings.max_features_age_days
    customers: list[CustomerFeatures | Problem] = []
    for user_id, found in zip(user_ids, serving.features.read(lookup, user_ids), strict=True):
        try:
            customers.append(usable(user_id, lookup.service.name, found, today=today, max_age_days=limit))
        except Problem as problem:
            customers.append(problem)
    return customers


def usable(
    user_id: str, service: str, found: OnlineFeatures, *, today: date, max_age_days: int | None
) -> CustomerFeatures:
    """Return the features if they exist, are complete, and are not older than the limit.

    Raises:
        Problem: unknown-user, incomplete-features or stale-features.
    """
    missing = list(found.missing)
    if not found.values:
        raise Problem("unknown-user", f"customer {user_id!r} has no online features", missing_features=missing)
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
    # The store returns typed values; validating them again costs more than the read.
    return CustomerFeatures.model_construct(
        user_id=user_id, features_as_of=found.as_of, feature_service=service, features=found.values
    )


def _answer(serving: Serving, scored: Scored, *, explained: bool) -> Prediction:
    model, customer, probability = scored
    prediction: Literal[0, 1] = 1 if probability >= model.threshold else 0
    PREDICTIONS.labels(prediction).inc()
    PROBABILITY.observe(probability)
    answer = Prediction.model_construct(
        user_id=customer.user_id,
        prediction=prediction,
        churn_probability=probability,
        threshold=model.threshold,
        model=model.identity,
        features_as_of=customer.features_as_of,
        features_used=customer.features,
    )
    if explained:
        with serving.load.turn:
            answer.explanation = _explain(model, answer)
    _keep(serving, answer)
    return answer


def _keep(serving: Serving, answer: Prediction) -> None:
    serving.predictions.append(
        Answered(
            answered_at=datetime.now(UTC),
            request_id=request_id(),
            user_id=answer.user_id,
            churn_probability=answer.churn_probability,
            prediction=answer.prediction,
            threshold=answer.threshold,
            model_version=answer.model.version,
            features_as_of=answer.features_as_of,
            features=answer.features_used,
        )
    )


def _explain(model: ServedModel, answer: Prediction) -> Explanation:
    # A version registered by hand may have no background rows.
    found = explain(model.scorer, [answer.features_used], model.background)[0] if model.background else []
    effects = [Effect(feature=each.feature, value=each.value, effect=each.effect) for each in found]
    return Explanation(method=METHOD, effects=effects)
