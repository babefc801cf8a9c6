"""GET /health: the process lives. GET /health/ready: every worker of the service can answer, or why not."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from flask_openapi3 import APIBlueprint, Tag

from serving import state
from serving.metrics import versions_served
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
    if behind := workers_behind(serving.workers, versions_served()):
        reasons.append(f"model-unavailable: {behind} of {serving.workers} workers have no model yet")
    if reasons or served is None:
        reasons += [f"model-unavailable: {each}" for each in serving.model.registry if served is None]
        raise Problem("not-ready", "; ".join(reasons), reasons=reasons, workers_behind=behind)
    model = serving.model
    return Ready(model=served.identity, trouble=model.trouble, registry=model.registry).model_dump(mode="json")


def workers_behind(workers: int, versions: Sequence[float]) -> int:
    """Return how many of so many workers have not started yet, or have no model though another has one.

    Args:
        versions: the model version of each live worker; 0: none.
    """
    return max(0, workers - len(versions)) + (versions.count(0) if any(versions) else 0)


def _try(check: Callable[[], Answer], reasons: list[str]) -> Answer | None:
    """Return what the check returns, or None where it raises a problem, which is put among the reasons."""
    try:
        return check()
    except Problem as problem:
        reasons.append(f"{problem.type}: {problem.description}")
        return None
