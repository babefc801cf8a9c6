"""Checks that a pipeline is built exactly as the recipe builds it; anything else may compute differently."""

from collections.abc import Mapping
from typing import Any


class NotCompilable(RuntimeError):
    """A pipeline that the compiler does not know; use the pipeline itself."""


def require(condition: bool, what: str) -> None:
    """Raise NotCompilable unless the condition holds; `what` names the unknown part."""
    if not condition:
        raise NotCompilable(what)


def require_type(found: Any, wanted: type) -> None:
    """Require exactly that type: a subclass may compute something else."""
    require(type(found) is wanted, f"{type(found).__name__} instead of {wanted.__name__}")


def require_settings(estimator: Any, wanted: Mapping[str, Any]) -> None:
    """Require these parameters of an estimator."""
    for name, value in wanted.items():
        found = getattr(estimator, name)
        same = found is value if value is None or isinstance(value, bool) else found == value
        require(same, f"{type(estimator).__name__} with {name}={found!r}")
