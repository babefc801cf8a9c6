"""Reasons in words, as the page, the command and top.csv show them."""

from collections.abc import Mapping
from typing import Any

SMALLEST = 0.005
"""The smallest effect that two digits show."""


def in_words(reason: Mapping[str, Any]) -> str:
    """Return a reason like "monthly_fee 104.8 raises the risk by 0.12".

    Args:
        reason: feature, value and effect, as scores.customers.reasons holds them.
    """
    value, effect = reason["value"], reason["effect"]
    what = f"{reason['feature']} {_shown(value)}"
    if abs(effect) < SMALLEST:
        return f"{what} hardly matters"
    return f"{what} {'raises' if effect > 0 else 'lowers'} the risk by {abs(effect):.2f}"


def _shown(value: Any) -> str:
    if value is None:
        return "(empty)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
