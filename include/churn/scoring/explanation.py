"""Which features moved one prediction most."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Effect:
    """A feature, its value, and by how much that value raises (or, below 0, lowers) the probability of churn."""

    feature: str
    value: Any
    effect: float


def explain(
    probabilities: Callable[[Sequence[Mapping[str, Any]]], np.ndarray],
    row: Mapping[str, Any],
    background: Sequence[Mapping[str, Any]],
) -> list[Effect]:
    """Return the effect of each feature of `row`, the largest first, whichever its sign.

    It is the prediction difference of Robnik-Šikonja and Kononenko ("Explaining Classifications For Individual
    Instances", IEEE Transactions on Knowledge and Data Engineering 20(5), 2008): the probability, less the mean
    probability of the same row with the value that each row of the background has in that one feature. The effects do
    not add up to anything: features that can stand in for each other may each have little.

    Args:
        probabilities: what is explained: from rows to their probabilities (rows,); it is called once.
        row: every feature of a customer.
        background: rows of other customers, with the same features.

    Raises:
        ValueError: there is no background.
    """
    if not background:
        raise ValueError("an explanation compares with other customers, and there is none")
    counts = {name: Counter(other[name] for other in background) for name in row}
    changed = [{**row, name: value} for name, values in counts.items() for value in values]
    own, *others = probabilities([row, *changed]).tolist()
    rest = iter(others)
    effects = [
        Effect(name, row[name], sum(count * (own - next(rest)) for count in values.values()) / len(background))
        for name, values in counts.items()
    ]
    return sorted(effects, key=lambda each: abs(each.effect), reverse=True)
