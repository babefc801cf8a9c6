"""GET /health: the process lives. GET /health/ready: it can answer, or why it cannot."""

from flask_openapi3 import APIBlueprint, Tag

from serving import state
from serving.problems import Problem
from serving.schemas import Health, Ready, answers
from serving.served import ServedModel

api = APIBlueprint("health", __name__, abp_tags=[Tag(name="operations")])

# Nobody's id: what counts is that the store answers.
_PROBE = "readiness probe"


@api.get("/health", summary="Does the process live?", responses=answers(Health))
def health() -> dict:
    return Health().model_dump()


@api.get("/health/ready", summary="Can it answer?", responses=answers(Ready, "not-ready"))
def ready() -> dict:
    serving = state.current()
    reasons = []
    served: ServedModel | None = None
    try:
        served = serving.model.current()
    except Problem as problem:
        reasons.append(f"{problem.type}: {problem.description}")
    try:
        serving.features.read(serving.model.lookup(), [_PROBE])
    except Problem as problem:
        reasons.append(f"{problem.type}: {problem.description}")
    if reasons or served is None:
        raise Problem("not-ready", "; ".join(reasons), reasons=reasons)
    return Ready(model=served.identity, trouble=serving.model.trouble).model_dump(mode="json")
