"""Which features moved one prediction most."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Effect:
    """A feature, its value, and by how much the value raises (below 0: lowers) the probability of churn."""

    feature: str
    value: Any
    effect: float


def explain(
    probabilities: Callable[[Sequence[Mapping[str, Any]]], np.ndarray],
    row: Mapping[str, Any],
    background: Sequence[Mapping[str, Any]],
) -> list[Effect]:
    """Return the effect of each feature of `row`, sorted by absolute value, largest first.

    The effect is the prediction difference of Robnik-Šikonja and Kononenko ("Explaining Classifications For Individual
    Instances", IEEE Transactions on Knowledge and Data Engineering 20(5), 2008): the probability minus the mean
    probability when this feature takes its value from each background row. Effects are not additive: of correlated
    features each may have a small one.

    Args:
        probabilities: the model: maps rows to probabilities (rows,); called once.
        row: every feature of a customer.
        background: rows of other customers, with the same features.

    Raises:
        ValueError: the background is empty.
    """
    if not background:
        raise ValueError("an explanation needs background rows, and there are none")
    counts = {name: Counter(other[name] for other in background) for name in row}
    changed = [{**row, name: value} for name, values in counts.items() for value in values]
    own, *others = probabilities([row, *changed]).tolist()
    rest = iter(others)
    effects = [
        Effect(name, row[name], sum(count * (own - next(rest)) for count in values.values()) / len(background))
        for name, values in counts.items()
    ]
    return sorted(effects, key=lambda each: abs(each.effect), reverse=True)
