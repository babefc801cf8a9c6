"""How often training calls a regime change: simulated dates whose relation between features and churn stays or turns.

Each date has the same customers with features of their own. The log odds of churn are a weighted sum of some of them;
the weight gives the AUC of the true model. Where the relation turns, another feature counts.
"""

from datetime import date, timedelta
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from feast.types import Float64
from scipy.optimize import brentq
from scipy.special import expit

from bench.context import Bench
from bench.figures import Row
from churn import statistics
from churn.training.recipe import Parameters, Rows
from churn.training.regime import Judged, judge_dates

CUSTOMERS = (1_400, 7_000, 20_000)
"""Training customers of each date."""
STAYS = (0.50, 0.55, 0.60, 0.80)
"""True AUCs at both dates."""
TURNS = ((0.83, 0.65),)
"""True AUC before and after: as in the real drops."""
BACKWARDS = 0.48
"""AUC after a turn of the feature that counted before: as in the real drops."""
PAIRS = 300
"""Pairs of dates per case. If none is called, the rate is below 1 % (95 %)."""

FEATURES = 6
ODDS = 1.0
"""Log odds of staying of the average customer: a churn rate of 27 % or more."""
FIRST = date(2024, 1, 31)


def run(bench: Bench) -> Row:
    """Judge the second date of every pair; --repeats sets the number of pairs per case."""
    pairs = bench.repeats or PAIRS
    rows: list[Row] = []
    cases = [*((auc, auc, False) for auc in STAYS), *((*each, True) for each in TURNS)]
    for customers, (before, after, turns) in product(CUSTOMERS, cases):
        found = [judge(customers, before, after, turns=turns, seed=seed) for seed in range(pairs)]
        called = sum(each.changed for each in found)
        rows.append({
            "customers": customers, "AUC before": before, "AUC after": after, "turns": turns, "pairs": pairs,
            "called": called, "called %": 100 * called / pairs, "swapped": sum(each.swapped for each in found),
        })  # fmt: skip
        bench.say(f"{rows[-1]}")
    return {"cases": rows}


def judge(customers: int, before: float, after: float, *, turns: bool, seed: int) -> Judged:
    """Simulate two dates, and judge the second one."""
    random = np.random.default_rng(seed)
    first, second = np.zeros(FEATURES), np.zeros(FEATURES)
    first[0], second[1 if turns else 0] = weight_of(before), weight_of(after)
    if turns:
        second[0] = -weight_of(1 - BACKWARDS)
    features = random.normal(size=(2 * customers, FEATURES))
    days = np.repeat(np.array([FIRST, FIRST + timedelta(days=29)], dtype="datetime64[D]"), customers)
    own = days == days[-1]
    labels = random.random(2 * customers) < expit(features @ first * ~own + features @ second * own - ODDS)
    names = [f"feature_{number}" for number in range(FEATURES)]
    users = np.tile(np.arange(customers).astype(str), 2)
    rows = Rows(pd.DataFrame(features, columns=names), labels, users, own)
    (found,) = judge_dates(rows, days, dict.fromkeys(names, Float64), Parameters())
    return found


@cache
def weight_of(auc: float) -> float:
    """Return the weight of a normal feature with which the true model has this AUC."""
    random = np.random.default_rng(0)
    feature, drawn = random.normal(size=200_000), random.random(200_000)

    def excess(weight: float) -> float:
        found = statistics.auc(drawn < expit(weight * feature - ODDS), feature)
        return (found.value if found else 0.5) - auc

    return 0.0 if auc == 0.5 else float(brentq(excess, 0.0, 10.0, xtol=1e-3))
