"""The expected performance of lists against what comes: under covariate shift, and where the relation turns.

The log odds of churn are a weighted sum of normal features. A model learns from some customers, a calibration from
others, and a list of later customers follows, whose features have another mean or spread.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date
from itertools import product

import numpy as np
from scipy.special import expit
from sklearn.base import ClassifierMixin

from bench.context import Bench
from bench.figures import Row
from bench.regime import ODDS, weight_of
from churn import statistics
from churn.outcomes.expected import Checked, Expected, believed, expect, fit_calibration
from churn.training.families import FAMILIES

AUC = 0.8
"""Of the true model, without a shift."""
FEATURES = 6
COUNTS = np.array([0.8, 0.5, 0.33, 0.0, 0.0, 0.0])
"""Relative weights; their squares sum to 1."""
TRAINED = 5_250
"""Rows that the model learns from: 7,000 customers without the cohorts."""

CALIBRATED = (300, 1_400, 20_000)
"""Rows that the calibration is fitted on; the second is the gate cohort of 7,000 customers."""
LISTS = {1_400: 200, 7_000: 200, 100_000: 40}
"""Rows of a list, and lists per case."""
TREES = ("boosted trees", "random forest")
"""Their scores are not quite calibrated, and what they say of rare customers less so."""
LISTS_OF_TREES = 10
"""Of 100,000 rows; trees are slow."""
CLOSE = 0.02
"""The promised distance of the expected AUC, for lists of 100,000 rows or more and calibrated scores."""

TURNS = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Share of the quarter turn after which features count that did not before."""
PAIRS = 200
"""Lists per turn."""


@dataclass(frozen=True)
class Shift:
    """What the features that count look like in the list; the model learned from mean 0 and spread 1."""

    name: str
    mean: float = 0.0
    spread: float = 1.0


SHIFTS = (
    Shift("none"),
    Shift("mean + 0.5 sd", mean=0.5),
    Shift("mean - 0.5 sd", mean=-0.5),
    Shift("spread * 1.5", spread=1.5),
)


def expectations(bench: Bench) -> list[Row]:
    """Compare expected figures with realized ones, where the relation stays."""
    cases = list(product(["logistic regression"], LISTS, CALIBRATED, SHIFTS))
    cases += product(TREES, [100_000], [1_400, 20_000], SHIFTS)
    rows: list[Row] = []
    for number, (family, listed, calibrated, shift) in enumerate(cases):
        lists = bench.repeats or (LISTS[listed] if family == "logistic regression" else LISTS_OF_TREES)
        errors: dict[str, list[float]] = defaultdict(list)
        covered: dict[str, int] = defaultdict(int)
        for seed in range(lists):
            random = np.random.default_rng([number, seed])
            for name, error, inside in _compared(random, family, listed, calibrated, shift):
                errors[name].append(error)
                covered[name] += inside
        off = np.abs(errors["auc"])
        rows.append({
            "model": family, "list": listed, "calibrated on": calibrated, "shift": shift.name, "lists": len(off),
            "mean error": float(np.mean(errors["auc"])), "largest": float(off.max()),
            f"within {CLOSE} %": float(100 * np.mean(off <= CLOSE)),
            **{f"{name} covered %": 100 * covered[name] / lists for name in errors},
        })  # fmt: skip
        bench.say(f"{rows[-1]}")
    return rows


def turns(bench: Bench) -> list[Row]:
    """Count the lists whose realized figure says not to believe, by how far the relation turns."""
    lists = bench.repeats or PAIRS
    rows: list[Row] = []
    for (number, turn), listed in product(enumerate(TURNS), (1_400, 7_000)):
        found = []
        for seed in range(lists):
            random = np.random.default_rng([number, seed])
            model, (calibrated, labels) = _fitted(random, "logistic regression"), _customers(random, 1_400)
            calibration = fit_calibration(labels, _scores(model, calibrated))
            features, labels = _customers(random, listed, turn=turn)
            expected = expect(scores := _scores(model, features), calibration) if calibration else None
            realized = statistics.auc(labels, scores)
            if expected and expected.auc and realized:
                found.append(Checked(date(2024, 2, 29), expected.auc, realized))
        rows.append({
            "turn": turn, "list": listed, "lists": len(found),
            "expected AUC": float(np.mean([each.expected.value for each in found])),
            "realized AUC": float(np.mean([each.realized.value for each in found])),
            "not believed %": 100 * float(np.mean([not believed([each])[0] for each in found])),
        })  # fmt: skip
        bench.say(f"{rows[-1]}")
    return rows


def _compared(
    random: np.random.Generator, family: str, listed: int, calibrated: int, shift: Shift
) -> Iterator[tuple[str, float, bool]]:
    """Yield each figure of one list: expected - realized, and whether the interval covers the realized one."""
    model, (features, labels) = _fitted(random, family), _customers(random, calibrated)
    calibration = fit_calibration(labels, _scores(model, features))
    features, labels = _customers(random, listed, shift)
    scores = _scores(model, features)
    expected, auc = expect(scores, calibration) if calibration else None, statistics.auc(labels, scores)
    if expected is None or auc is None:
        return
    realized = {"auc": auc.value, "brier": np.mean((scores - labels) ** 2), "churn_rate": labels.mean()}
    for name in (field.name for field in fields(Expected)):
        if estimate := getattr(expected, name):
            low, high = estimate.interval()
            yield name, estimate.value - realized[name], bool(low <= realized[name] <= high)


def _fitted(random: np.random.Generator, family: str) -> ClassifierMixin:
    features, labels = _customers(random, TRAINED)
    settings = {**FAMILIES[family].grid[0], **FAMILIES[family].in_folds}
    return FAMILIES[family].make(TRAINED, 0, **settings).fit(features, labels)


def _scores(model: ClassifierMixin, features: np.ndarray) -> np.ndarray:
    scores: np.ndarray = model.predict_proba(features)[:, 1]
    return scores


def _customers(
    random: np.random.Generator, rows: int, shift: Shift = SHIFTS[0], turn: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return features and labels."""
    features = random.normal(size=(rows, FEATURES))
    features[:, COUNTS > 0] = shift.mean + shift.spread * features[:, COUNTS > 0]
    angle = turn * np.pi / 2
    weights = np.cos(angle) * COUNTS + np.sin(angle) * COUNTS[::-1]
    linear = weight_of(AUC) * features @ weights / np.linalg.norm(COUNTS)
    return features, random.random(rows) < expit(linear - ODDS)
