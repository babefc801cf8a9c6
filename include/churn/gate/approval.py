"""A person's answer to the request to approve a decision PROMOTE."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta

WAIT = timedelta(hours=24)
"""Timeout of a request: one on-call day; the next day has its own candidate."""

APPROVAL = "gate.approval"
"""Tag of an approved version, set before the promotion, so that a promotion that was killed can be recorded later."""


@dataclass(frozen=True)
class Approval:
    """The answer. `who` is None after a timeout; `at` is an instant in ISO format."""

    approved: bool
    who: str | None
    at: str
    note: str = ""

    def consent(self, reason: str) -> str:
        """Return the reason of the move: the gate's reason, the approver and the time."""
        return f"{reason}; approved by {self.who} at {self.at[:16]}{_note(self.note)}"

    @property
    def refusal(self) -> str:
        """The reason why Production does not move."""
        if self.who is None:
            return f"nobody answered within {WAIT.total_seconds() / 3600:.0f} hours"
        return f"rejected by {self.who} at {self.at[:16]}{_note(self.note)}"


def to_tag(approval: Approval) -> str:
    """Return the value of the tag APPROVAL."""
    return json.dumps(asdict(approval))


def from_tags(tags: Mapping[str, str]) -> Approval | None:
    """Return the approval that the tags of a version hold."""
    return Approval(**json.loads(tags[APPROVAL])) if APPROVAL in tags else None


def _note(note: str) -> str:
    return f": {note.strip()}" if note.strip() else ""
