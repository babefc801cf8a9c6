"""Acceptance of drops: the content accepted for an AS_OF before, and whether an _ACCEPT file is valid.

Acceptance is history: content that was accepted and not withdrawn is accepted again. An _ACCEPT is valid only for the
content that it was placed beside.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from churn.drops.landing import ACCEPT, written_after
from churn.postgres.database import Connection, execute


@dataclass(frozen=True)
class Accept:
    """The file _ACCEPT of a drop: its reason, and its hash and modification time, which identify it."""

    because: str
    sha256: str
    modified_ns: int


@dataclass(frozen=True)
class Revision:
    """A past content of an AS_OF. `accepted` is its _ACCEPT; `who` and `why` belong to its withdrawal."""

    revision: int
    digest: str
    rules: int
    accepted: Mapping[str, Any] | None
    withdrawn_at: datetime | None
    who: str | None
    why: str | None


def read_history(connection: Connection, as_of: date) -> list[Revision]:
    """Return all past contents of `as_of`, oldest first."""
    return [Revision(*row) for row in execute(connection, "holds/history", {"as_of": as_of})]


def accepted_before(history: Iterable[Revision], digest: str) -> Revision | None:
    """Return the accepted revision with that digest that was not withdrawn, None without one."""
    return next((each for each in history if each.digest == digest and each.withdrawn_at is None), None)


def find_withdrawn(history: Iterable[Revision], digest: str) -> Revision | None:
    """Return the last withdrawn revision with that digest, None without one."""
    withdrawn = [each for each in history if each.digest == digest and each.withdrawn_at]
    return max(withdrawn, key=lambda each: (each.withdrawn_at, each.revision), default=None)


def why_not_accepted(accept: Accept | None, history: Iterable[Revision], digest: str) -> str | None:
    """Return why _ACCEPT does not accept the content of that digest, and what to do; None if it does."""
    if accept is None:
        return f"to accept it, write why into its file {ACCEPT}"
    if not accept.because:
        return f"its {ACCEPT} is empty: write into it why the drop is right"
    history = list(history)
    for each in history:
        if each.digest != digest and _is_of(accept, each):
            return f"its {ACCEPT} was written for another content, revision {each.revision}: write {ACCEPT} again"
    withdrawn = find_withdrawn(history, digest)
    if withdrawn and withdrawn.withdrawn_at and not written_after(accept.modified_ns, withdrawn.withdrawn_at):
        return f"its {ACCEPT} is older than the withdrawal: write {ACCEPT} again"
    return None


def _is_of(accept: Accept, revision: Revision) -> bool:
    recorded = revision.accepted or {}
    return (recorded.get("sha256"), recorded.get("modified_ns")) == (accept.sha256, accept.modified_ns)
