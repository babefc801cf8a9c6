"""Value: what a contact costs and what a kept customer brings, the figures behind expected profit.

Profit = success rate * margin * leavers contacted - cost * contacts, as on the page "At risk" (docs/scores.md).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


class ValueRefused(ValueError):
    """Figures that cannot be used; the message names the figure and says what it must be."""


@dataclass(frozen=True)
class Value:
    """The value of contacting customers.

    Attributes:
        contact_cost: the cost of a contact, in currency units.
        success_rate: the share of contacted leavers who then stay, above 0 and below 1.
        margin: what a kept customer brings, in currency units.

    Raises:
        ValueRefused: a figure is out of its range.
    """

    contact_cost: float
    success_rate: float
    margin: float

    def __post_init__(self) -> None:
        if not 0 <= self.contact_cost < math.inf:
            raise ValueRefused(f"contact_cost must be a number of at least 0, like 10, got {self.contact_cost}")
        if not 0 < self.success_rate < 1:
            raise ValueRefused(f"success_rate must be a number above 0 and below 1, like 0.3, got {self.success_rate}")
        if not 0 < self.margin < math.inf:
            raise ValueRefused(f"margin must be a number above 0, like 200, got {self.margin}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Value":
        """Return the value of these figures, by name.

        Raises:
            ValueRefused: a figure is missing, unknown, no number or out of its range.
        """
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                raise ValueRefused(f"there is no {name!r}; there are: {', '.join(names)}")
        for name in names:
            if name not in given:
                raise ValueRefused(f"{name} is missing; needed are: {', '.join(names)}")
            if not isinstance(given[name], (int, float)) or isinstance(given[name], bool):
                raise ValueRefused(f"{name} must be a number, got {given[name]!r}")
        # Of 10 and 10.0 the record of the parameters must be the same.
        return cls(**{name: float(given[name]) for name in names})

    @classmethod
    def read(cls, text: str) -> "Value":
        """Return the value that a text like "contact_cost=10,success_rate=0.3,margin=200" states.

        Raises:
            ValueRefused: as of().
        """
        given: dict[str, float] = {}
        for part in text.split(","):
            name, _, figure = (each.strip() for each in part.partition("="))
            if name in given:
                raise ValueRefused(f"{name} is given twice")
            try:
                given[name] = float(figure)
            except ValueError:
                raise ValueRefused(f"{part.strip()!r} is not a name=number, the number with a point") from None
        return cls.of(given)
