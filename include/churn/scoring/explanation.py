"""Which features moved a prediction most."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from churn.scoring.scorer import Scorer

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Effect:
    """A feature, its value, and by how much the value raises (below 0: lowers) the probability of churn."""

    feature: str
    value: Any
    effect: float


def explain(
    scorer: Scorer, rows: Sequence[Row], background: Sequence[Row], strongest: int | None = None
) -> list[list[Effect]]:
    """Return the effects of each row's features, sorted by absolute value, largest first.

    The effect is the prediction difference of Robnik-Šikonja and Kononenko ("Explaining Classifications For Individual
    Instances", IEEE Transactions on Knowledge and Data Engineering 20(5), 2008): the probability minus the mean
    probability when this feature takes its value from each background row. Effects are not additive: of correlated
    features each may have a small one. A row's effects do not depend on the other rows, to the bit.

    Args:
        rows: customers, each with every feature in the same order. The more rows, the more memory.
        background: rows of other customers, with the same features.
        strongest: how many effects to return of each row; None returns all.

    Raises:
        ValueError: the background is empty.
    """
    if not background:
        raise ValueError("an explanation needs background rows, and there are none")
    if not rows:
        return []
    names = list(rows[0])
    own, replace = scorer.probabilities(rows), scorer.replace(rows)
    effects = np.empty((len(rows), len(names)))
    for column, name in enumerate(names):
        counts = Counter(other[name] for other in background)
        total = np.zeros(len(rows))
        for count, replaced in zip(counts.values(), replace(name, list(counts)), strict=True):
            total += count * (own - replaced)
        effects[:, column] = total / len(background)
    order = np.argsort(-np.abs(effects), axis=1, kind="stable")[:, :strongest]
    return [
        [Effect(names[column], row[names[column]], float(found[column])) for column in columns]
        for row, found, columns in zip(rows, effects, order.tolist(), strict=True)
    ]
