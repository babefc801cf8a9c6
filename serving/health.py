"""GET /health: the process lives. GET /health/ready: it can answer, or why it cannot."""

from collections.abc import Callable
from typing import TypeVar

from flask_openapi3 import APIBlueprint, Tag

from serving import state
from serving.problems import Problem
from serving.schemas import Health, Ready, answers

api = APIBlueprint("health", __name__, abp_tags=[Tag(name="operations")])

Answer = TypeVar("Answer")

# Nobody's id: what counts is that the store answers.
_PROBE = "readiness probe"


@api.get("/health", summary="Does the process live?", responses=answers(Health))
def health() -> dict:
    return Health().model_dump()


@api.get("/health/ready", summary="Can it answer?", responses=answers(Ready, "not-ready"))
def ready() -> dict:
    serving = state.current()
    reasons: list[str] = []
    served = _try(serving.model.current, reasons)
    _try(lambda: serving.features.read(serving.model.lookup(), [_PROBE]), reasons)
    if reasons or served is None:
        reasons += [f"model-unavailable: {each}" for each in serving.model.registry if served is None]
        raise Problem("not-ready", "; ".join(reasons), reasons=reasons)
    model = serving.model
    return Ready(model=served.identity, trouble=model.trouble, registry=model.registry).model_dump(mode="json")


def _try(check: Callable[[], Answer], reasons: list[str]) -> Answer | None:
    """Return what the check returns, or None where it raises a problem, which is put among the reasons."""
    try:
        return check()
    except Problem as problem:
        reasons.append(f"{problem.type}: {problem.description}")
        return None
