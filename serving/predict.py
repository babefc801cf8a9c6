"""The customer routes: POST /predict, POST /predict/batch and GET /features/<user_id>."""

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel

from serving import state
from serving.answering import answer_all, answer_one, read_all
from serving.problems import Problem, members
from serving.schemas import (
    MOST_BATCH_BYTES,
    BatchAnswer,
    BatchRequest,
    BatchResult,
    CustomerFeatures,
    FeaturesPath,
    Prediction,
    PredictQuery,
    PredictRequest,
    ProblemDetails,
    answers,
)
from serving.security import OPTIONAL_KEY, require_key

api = APIBlueprint("predict", __name__, abp_tags=[Tag(name="churn")], abp_security=OPTIONAL_KEY)
api.before_request(require_key)

_CUSTOMER_PROBLEMS = ("unknown-user", "incomplete-features", "stale-features")
_ANYWHERE = ("unauthorized", "invalid-request", "feature-store-unavailable", "overloaded")
_BODY_PROBLEMS = ("malformed-json", "body-too-large", "not-json", "encoded-body", "model-unavailable")


@api.post(
    "/predict",
    summary="Will this customer leave?",
    responses=answers(Prediction, *_BODY_PROBLEMS, *_CUSTOMER_PROBLEMS, *_ANYWHERE),
)
def predict(body: PredictRequest, query: PredictQuery) -> Response:
    return _json(answer_one(state.current(), body.user_id, explained=query.explain))


@api.post(
    "/predict/batch",
    summary="Which of these customers will leave?",
    responses=answers(BatchAnswer, *_BODY_PROBLEMS, *_ANYWHERE),
)
def predict_batch(body: BatchRequest) -> Response:
    answered = zip(body.user_ids, answer_all(state.current(), body.user_ids), strict=True)
    return _json(BatchAnswer.model_construct(results=[_result(user_id, answer) for user_id, answer in answered]))


# path: because an id may contain slashes, also a leading one (serving.app.AnyPath).
@api.get(
    "/features/<path:user_id>",
    summary="The online features of a customer",
    description="Percent-encode the id except letters, digits and - . _ ~; a slash is %2F.",
    responses=answers(CustomerFeatures, *_CUSTOMER_PROBLEMS, *_ANYWHERE),
)
def features(path: FeaturesPath) -> Response:
    serving = state.current()
    with serving.load.turn:
        (customer,) = read_all(serving, serving.model.lookup(), [path.user_id])
    if isinstance(customer, Problem):
        raise customer
    return _json(customer)


@api.before_request
def _let_batches_be_larger() -> None:
    if request.endpoint == f"{api.name}.{predict_batch.__name__}":
        request.max_content_length = MOST_BATCH_BYTES


def _result(user_id: str, answer: Prediction | Problem) -> BatchResult:
    if isinstance(answer, Problem):
        return BatchResult.model_construct(user_id=user_id, problem=ProblemDetails.model_construct(**members(answer)))
    return BatchResult.model_construct(user_id=user_id, prediction=answer)


def _json(answer: BaseModel) -> Response:
    # exclude_unset omits an explanation that was not requested, and the problem of a prediction.
    return Response(answer.model_dump_json(exclude_unset=True), mimetype="application/json")
