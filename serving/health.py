"""GET /health: liveness. GET /health/ready: readiness of all workers, with the reasons if one is not ready."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from flask_openapi3 import APIBlueprint, Tag

from serving import state
from serving.metrics import versions_served
from serving.problems import Problem
from serving.schemas import Health, Ready, answers

api = APIBlueprint("health", __name__, abp_tags=[Tag(name="operations")])

Answer = TypeVar("Answer")

# An id without features: the probe only tests that the store responds.
_PROBE = "readiness probe"


@api.get("/health", summary="Liveness", responses=answers(Health))
def health() -> dict:
    return Health().model_dump()


@api.get("/health/ready", summary="Readiness", responses=answers(Ready, "not-ready"))
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
    """Return the number of workers that have not started yet, or have no model while another worker has one.

    Args:
        versions: the model version of each live worker, 0 for no model.
    """
    return max(0, workers - len(versions)) + (versions.count(0) if any(versions) else 0)


def _try(check: Callable[[], Answer], reasons: list[str]) -> Answer | None:
    """Return the result of the check; if it raises a problem, add it to the reasons and return None."""
    try:
        return check()
    except Problem as problem:
        reasons.append(f"{problem.type}: {problem.description}")
        return None
