"""Rows on which a compiled pipeline would give itself away: NULLs, unknown values, and numbers at the trees' splits.

Of the splits they are a sample, SPLITS of each number in the rows of CUSTOMERS: they find what a compiled pipeline does
otherwise as a rule, as falling to the wrong side of a threshold, and need not find the one threshold that is wrong.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from feast.types import Bool, Int64, String

from churn.scoring.compiled import CompiledScorer

SPLITS = 50
"""Thresholds of a feature that are tried at most, from the lowest to the highest: with the NULLs, some 5,000 rows."""

CUSTOMERS = 2
"""Golden rows that each value at a split is put into."""

SEED = 20240131

Row = Mapping[str, Any]


def proof_rows(scorer: CompiledScorer, golden: Sequence[Row], types: Mapping[str, Any]) -> list[Row]:
    """Return the golden rows, which have every feature of these Feast types, and variations of them; the same for the
    same arguments."""
    return [*golden, *_nulls(golden, types), *_categories(scorer, golden, types), *_at_splits(scorer, golden, types)]


def _nulls(golden: Sequence[Row], types: Mapping[str, Any]) -> Iterator[Row]:
    """Each feature NULL in turn: online, each may be."""
    for name in types:
        for row in golden:
            yield {**row, name: None}


def _categories(scorer: CompiledScorer, golden: Sequence[Row], types: Mapping[str, Any]) -> Iterator[Row]:
    known = {code.name: list(code.columns) for code in scorer.encoder.codes}
    for name, dtype in types.items():
        if dtype not in (Bool, String):
            continue
        values = known.get(name, [])
        if dtype == String:
            texts = [text for text in values if text is not None]
            # What is nearly a known text is another one.
            values = [
                *values,
                "",
                "unseen",
                *(near for text in texts for near in (f"{text} ", text.swapcase(), text[:-1])),
            ]
        for value in values:
            for row in golden:
                yield {**row, name: value}


def _at_splits(scorer: CompiledScorer, golden: Sequence[Row], types: Mapping[str, Any]) -> Iterator[Row]:
    trees = scorer.classifier.trees
    if trees is None:
        return
    random = np.random.default_rng(SEED)
    for column, name in enumerate(scorer.encoder.numbers):
        thresholds = np.unique(trees.threshold[trees.inner & (trees.feature == column)])
        for threshold in _spread(thresholds):
            for value in whole_around(threshold) if types[name] == Int64 else numbers_around(threshold):
                for index in random.integers(0, len(golden), CUSTOMERS).tolist():
                    yield {**golden[index], name: value}


def _spread(thresholds: np.ndarray) -> list[float]:
    """Return SPLITS of them, evenly from the first to the last, or all where they are fewer."""
    if len(thresholds) > SPLITS:
        thresholds = thresholds[np.linspace(0, len(thresholds) - 1, SPLITS).astype(int)]
    return thresholds.tolist()


def numbers_around(threshold: float) -> list[float]:
    """Return the threshold and its neighbours in double and in single precision, which trees may compare in."""
    single = np.float32(threshold)
    found = {threshold, float(single)}
    for towards in (-np.inf, np.inf):
        found |= {float(np.nextafter(threshold, towards)), float(np.nextafter(single, np.float32(towards)))}
    return sorted(found)


def whole_around(threshold: float) -> list[int]:
    """Return the threshold if it is whole, and the whole numbers nearest to it on both sides."""
    return sorted({math.ceil(threshold) - 1, math.floor(threshold), math.floor(threshold) + 1})
