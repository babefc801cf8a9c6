"""The result of a step of the chain: outcome, reason and figures. Tasks return it as XCom, shown in the Airflow UI."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DONE = "DONE"
UNCHANGED = "UNCHANGED"
"""The same drop, data and code were processed before; nothing was written."""
OLDER = "OLDER"
"""A newer AS_OF is served already; nothing was written."""


@dataclass(frozen=True)
class Outcome:
    """The result of a step."""

    outcome: str
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "reason": self.reason, **self.figures}
