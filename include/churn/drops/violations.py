"""Violations of the contract, grouped by file, column and rule: the first of each in full, the rest counted."""

import re
from dataclasses import dataclass, field

from churn.drops.contract import UNSEEN

SHOWN = 20
"""How many violations of one rule in one column are quoted; the rest are counted."""
VALUE_LENGTH = 80
"""Characters of a value that an error message quotes."""


class DropRejected(ValueError):
    """The drop breaks its contract; nothing is loaded. The message lists the violations.

    Attributes:
        without_values: the message without values of the drop, for places that erasure does not reach.
    """

    def __init__(self, message: str, *, without_values: str | None = None) -> None:
        super().__init__(message)
        self.without_values = without_values or message


@dataclass
class Violations:
    """The violations of one drop, in the order in which they were found."""

    _groups: dict[tuple[str, str | None, str], list[tuple[int | None, str | None]]] = field(default_factory=dict)
    _counts: dict[tuple[str, str | None, str], int] = field(default_factory=dict)

    def add(
        self,
        file: str,
        rule: str,
        *,
        line: int | None = None,
        column: str | None = None,
        value: str | bytes | None = None,
        note: str = "",
    ) -> None:
        """Record that `file` breaks `rule`. The `note` explains it. The first SHOWN of a group are quoted."""
        self.count(file, rule, column=column, more=1)
        shown = self._groups[file, column, rule]
        if len(shown) < SHOWN:
            quoted = quote(value)
            shown.append((line, f"{quoted} ({note})" if note else quoted))

    def count(self, file: str, rule: str, *, column: str | None = None, more: int) -> None:
        """Count `more` violations without quoting them."""
        if more:
            group = (file, column, rule)
            self._groups.setdefault(group, [])
            self._counts[group] = self._counts.get(group, 0) + more

    def lose_rows(self, file: str) -> bool:
        """Tell whether the customers of some rows of `file` could not be read."""
        return any(name == file and column in (None, "user_id") for name, column, _ in self._counts)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def __str__(self) -> str:
        lines = []
        for (file, column, rule), shown in self._groups.items():
            for line, value in shown:
                quoted = f": {value}" if value is not None else ""
                lines.append(f"{_where(file, line, column)}{quoted}: expected {rule}")
            if more := self._counts[file, column, rule] - len(shown):
                lines.append(f"{_where(file, None, column)}: … and {more} more, expected {rule}")
        return "\n".join(lines)

    def without_values(self) -> str:
        """Return a line for each group: where it begins, its rule and its count, and no value of the drop."""
        lines = []
        for (file, column, rule), shown in self._groups.items():
            first = shown[0][0] if shown else None
            more = self._counts[file, column, rule] - 1
            lines.append(f"{_where(file, first, column)}: expected {rule}" + (f", and {more} more" if more else ""))
        return "\n".join(lines)

    def raise_if_any(self, drop: str) -> None:
        """Raise DropRejected with all violations, if there are any."""
        if self:
            rejected = f"drop {drop} rejected, nothing of it is loaded"
            raise DropRejected(
                f"{rejected}:\n{self}",
                without_values=f"{rejected}; values are in the task's log:\n{self.without_values()}",
            )


def _where(file: str, line: int | None, column: str | None) -> str:
    return file + (f", line {line}" if line else "") + (f", column {column}" if column else "")


def quote(value: str | bytes | None) -> str | None:
    """Return a value in quotes, cut to VALUE_LENGTH, with invisible characters escaped."""
    if value is None:
        return None
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    quoted = repr(text if len(text) <= VALUE_LENGTH else text[:VALUE_LENGTH] + "…")
    return re.sub(f"[{UNSEEN}]", lambda found: ascii(found[0])[1:-1], quoted)
