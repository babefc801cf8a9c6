"""GET /health: the process lives. GET /health/ready: it can answer, or why it cannot."""

from collections.abc import Callable

from flask_openapi3 import APIBlueprint, Tag

from serving import state
from serving.problems import Problem
from serving.schemas import Health, Ready, answers

api = APIBlueprint("health", __name__, abp_tags=[Tag(name="operations")])

# Nobody's id: what counts is that the store answers.
_PROBE = "readiness probe"


@api.get("/health", summary="Does the process live?", responses=answers(Health))
def health() -> dict:
    return Health().model_dump()


@api.get("/health/ready", summary="Can it answer?", responses=answers(Ready, "not-ready"))
def ready() -> dict:
    serving = state.current()
    served = serving.model.served
    reasons = _problems(serving.model.current, lambda: serving.features.read(serving.lookup(), [_PROBE]))
    if reasons or served is None:
        raise Problem("not-ready", "; ".join(reasons), reasons=reasons)
    return Ready(model=served.identity, trouble=serving.model.trouble).model_dump(mode="json")


def _problems(*checks: Callable[[], object]) -> list[str]:
    found = []
    for check in checks:
        try:
            check()
        except Problem as problem:
            found.append(f"{problem.type}: {problem.description}")
    return found
