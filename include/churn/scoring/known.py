"""What a pipeline must be made of to be compiled: exactly what the recipe makes, for all else has other arithmetic."""

from collections.abc import Mapping
from typing import Any


class NotCompilable(RuntimeError):
    """A pipeline of which something is not known to the bit; it can only answer itself."""


def require(condition: bool, what: str) -> None:
    """Refuse a pipeline that is not known: `what` says in which respect."""
    if not condition:
        raise NotCompilable(what)


def require_type(found: Any, wanted: type) -> None:
    """Refuse anything but that very type: a subclass may compute something else."""
    require(type(found) is wanted, f"{type(found).__name__} instead of {wanted.__name__}")


def require_settings(estimator: Any, wanted: Mapping[str, Any]) -> None:
    """Refuse an estimator with other parameters than these among its own."""
    for name, value in wanted.items():
        found = getattr(estimator, name)
        same = found is value if value is None or isinstance(value, bool) else found == value
        require(same, f"{type(estimator).__name__} with {name}={found!r}")
