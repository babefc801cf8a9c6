"""What a check found."""

from collections.abc import Iterable
from dataclasses import dataclass

OK, WARN, BAD = "ok", "warn", "bad"


@dataclass(frozen=True)
class Finding:
    """One check: `found` is its figure, `advice` what to do where it is not ok."""

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
    """Return the names separated by commas; of many, the first and how many more."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
