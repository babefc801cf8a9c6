"""The finding of a check."""

from collections.abc import Iterable
from dataclasses import dataclass

OK, WARN, BAD = "ok", "warn", "bad"


@dataclass(frozen=True)
class Finding:
    """The result of one check: `found` is its figure, `advice` is what to do if it is not ok."""

    check: str
    outcome: str
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    return Finding(check, OK, found)


def warn(check: str, found: str, advice: str) -> Finding:
    return Finding(check, WARN, found, advice)


def bad(check: str, found: str, advice: str) -> Finding:
    return Finding(check, BAD, found, advice)


def some(names: Iterable[object], most: int = 5) -> str:
    """Return the first `most` names separated by commas, and the number of further ones."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
