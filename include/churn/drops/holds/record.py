"""The record of held drops: validate writes it, loading the AS_OF deletes it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from churn.drops.landing import ACCEPT
from churn.postgres.database import Connection, connect, execute, lock

Against = tuple[date, str]
"""The AS_OF and the digest of a loaded drop."""


class DropHeld(RuntimeError):
    """The drop waits for a person; nothing is loaded. The message has each finding and what to do.

    Attributes:
        told_before: the same content, manifest and _ACCEPT were already recorded as held.
    """

    def __init__(self, message: str, *, told_before: bool = False) -> None:
        super().__init__(message)
        self.told_before = told_before


@dataclass(frozen=True)
class Hold:
    """A held drop.

    Attributes:
        held_at: time of the last comparison.
        content: digest of its files, as in raw.revisions.
        verdict: digest of everything that was judged: its files, manifest.json and _ACCEPT.
        against: the drop it was compared with, None without one.
    """

    as_of: date
    held_at: datetime
    content: str
    verdict: str
    against: Against | None
    findings: Sequence[str]

    def __str__(self) -> str:
        against = f", compared with {self.against[0]}" if self.against else ""
        return f"{self.as_of} is held since {self.held_at:%Y-%m-%d %H:%M} UTC{against}: {'; '.join(self.findings)}"


def is_to_be_compared(hold: Hold, verdict: str, nearest: Against | None) -> bool:
    """Tell whether a held drop must be compared again: it, its _ACCEPT or the nearest earlier drop changed.

    Args:
        verdict: digest of everything that would be judged now.
        nearest: the nearest earlier loaded drop.
    """
    return hold.verdict != verdict or hold.against != nearest


def what_to_do(landing: Path) -> str:
    """Return in words how to lift a hold."""
    return f"have a held drop corrected, or write why it is right into {landing / '<AS_OF>' / ACCEPT}"


def read_holds(connection: Connection) -> list[Hold]:
    """Return the held drops, oldest first."""
    return [
        Hold(as_of, held_at, content, verdict, (against, digest) if against else None, findings)
        for as_of, held_at, content, verdict, against, digest, findings in execute(connection, "holds/all")
    ]


def find_holds(database_url: str) -> Mapping[date, Hold]:
    """Return the held drops by AS_OF."""
    with connect(database_url) as connection:
        return {hold.as_of: hold for hold in read_holds(connection)}


def record_hold(
    database_url: str, as_of: date, findings: Sequence[str], *, content: str, verdict: str, against: Against | None
) -> bool:
    """Record that a drop is held; tell whether the same verdict was recorded before."""
    with connect(database_url) as connection:
        lock(connection, "as_of", as_of.isoformat())
        before = execute(connection, "holds/verdict", {"as_of": as_of}).fetchone()
        execute(connection, "holds/hold", {
            "as_of": as_of, "content": content, "verdict": verdict, "findings": json.dumps(findings),
            "against_as_of": against and against[0], "against_digest": against and against[1],
        })  # fmt: skip
    return before == (verdict,)


def forget_hold(database_url: str, hold: Hold) -> None:
    """Delete the record of a hold, unless the AS_OF was held again since."""
    with connect(database_url) as connection:
        execute(connection, "holds/forget", {"as_of": hold.as_of, "held_at": hold.held_at})
