"""The answer of a person who was asked whether a decision PROMOTE may be carried out."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta

WAIT = timedelta(hours=24)
"""How long an answer is waited for: a day on call has one owner, and the next day brings its own candidate."""

APPROVAL = "gate.approval"
"""The tag of a version that was approved, set before it is promoted: whoever finishes the record of a promotion that
was killed learns from it who approved."""


@dataclass(frozen=True)
class Approval:
    """The answer. `who` is None where nobody answered within WAIT; `at` is an instant in ISO."""

    approved: bool
    who: str | None
    at: str
    note: str = ""

    def consent(self, reason: str) -> str:
        """Why Production moves: the gate's reason, and who agreed to it when."""
        return f"{reason}; approved by {self.who} at {self.at[:16]}{_note(self.note)}"

    @property
    def refusal(self) -> str:
        """Why Production stays."""
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
