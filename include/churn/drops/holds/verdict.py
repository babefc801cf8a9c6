"""Accepts or holds a drop that obeys the contract."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from churn.drops.holds.acceptance import (
    Accept,
    Revision,
    accepted_before,
    find_withdrawn,
    read_history,
    why_not_accepted,
)
from churn.drops.holds.earlier import Earlier, compare_with_earlier, find_nearest_earlier
from churn.drops.holds.record import DropHeld, Hold, read_holds, record_hold
from churn.drops.holds.rules import Look
from churn.drops.keys import Keys
from churn.drops.landing import ACCEPT, digest_of
from churn.drops.storage import Location
from churn.postgres.database import connect

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """The records for a verdict: the past contents of the AS_OF, and the drop to compare with."""

    history: Sequence[Revision]
    earlier: Earlier | None
    held: Hold | None


@dataclass(frozen=True)
class Lawful:
    """A drop that obeys the contract.

    Attributes:
        digest: sha256 of the contract's files.
        changed_ns: when the newest of them was changed or put there, in nanoseconds.
        look: its files' hashes and its profile.
        users: its customers.
        judged: the identity of everything that is judged: the hashes of its files as they landed, and the identity of
            every other judged file, read before it.
    """

    as_of: date
    path: Path
    digest: str
    changed_ns: int
    look: Look
    users: Keys
    judged: Mapping[str, str]
    accept: Accept | None

    @property
    def verdict_on(self) -> str:
        """The digest of everything that is judged; churn.drops.watch computes the same."""
        return digest_of(self.judged)


def read_known(database_url: str, as_of: date) -> Known:
    """Return the records for the verdict on a drop of `as_of`."""
    with connect(database_url) as connection:
        held = next((hold for hold in read_holds(connection) if hold.as_of == as_of), None)
        return Known(read_history(connection, as_of), find_nearest_earlier(connection, as_of), held)


def hold_unless_accepted(drop: Lawful, known: Known, database_url: str, archive: Location) -> None:
    """Record a hold if a person must accept the drop and has not.

    Raises:
        DropHeld: the drop is held.
    """
    if accepted_before(known.history, drop.digest):
        return
    findings = _findings(drop, known, archive)
    if not findings:
        return
    compared = f"Compared with the drop of {known.earlier.as_of}:\n" if known.earlier else ""
    said = compared + "\n".join(findings)
    why_not = why_not_accepted(drop.accept, known.history, drop.digest) or _why_for_another(drop, known.held)
    if why_not is None:
        log.warning("drop %s accepted because %r. %s", drop.as_of, drop.accept and drop.accept.because, said)
        return
    against = (known.earlier.as_of, known.earlier.digest) if known.earlier else None
    told_before = record_hold(
        database_url, drop.as_of, findings, content=drop.digest, verdict=drop.verdict_on, against=against
    )
    message = f"drop {drop.as_of} held, nothing of it is loaded. {said}\nHave it corrected in {drop.path}; {why_not}"
    raise DropHeld(message, told_before=told_before)


def _why_for_another(drop: Lawful, held: Hold | None) -> str | None:
    """Return the error if _ACCEPT was written for content that was held earlier, else None."""
    if held is None or held.content == drop.digest or not drop.accept or drop.accept.modified_ns > drop.changed_ns:
        return None
    return f"its {ACCEPT} was written for other content, held on {held.held_at:%Y-%m-%d}: write {ACCEPT} again"


def _findings(drop: Lawful, known: Known, archive: Location) -> list[str]:
    findings = []
    if withdrawn := find_withdrawn(known.history, drop.digest):
        findings.append(
            f"this content was withdrawn on {withdrawn.withdrawn_at:%Y-%m-%d} by {withdrawn.who}: {withdrawn.why}"
        )
    if known.earlier:
        findings += compare_with_earlier(known.earlier, drop.look, drop.users, archive)
    return findings
