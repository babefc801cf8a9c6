"""Pipelines of the real recipe over the features of new models, for tests of what is compiled from them."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
from feast.types import Bool, Float64, Int64, String
from sklearn.pipeline import Pipeline

from churn.features.store import FEATURE_SERVICE, feature_types, load_definitions
from churn.scoring.frame import to_frame
from churn.training.families import FAMILIES
from churn.training.recipe import Parameters, Recipe, Rows, fit

SERVICE = next(each for each in load_definitions() if each.name == FEATURE_SERVICE)
TYPES = feature_types(SERVICE)

RECIPES = {
    (name, calibrated): Recipe(name, family.grid[-1] | family.in_folds, calibrated)
    for name, family in FAMILIES.items()
    for calibrated in (False, True)
}
"""Every family, calibrated and not; a forest of few trees."""


def customers(count: int, seed: int) -> list[dict[str, Any]]:
    """Customers with NULLs where the contract has them."""
    random = np.random.default_rng(seed)

    def customer() -> dict[str, Any]:
        row: dict[str, Any] = {}
        for name, dtype in TYPES.items():
            draw: dict[Any, Callable[[], Any]] = {
                Int64: lambda: int(random.poisson(4)),
                Float64: lambda: round(float(random.gamma(2, 15)), 3),
                Bool: lambda: bool(random.random() < 0.5),
                String: lambda: str(random.choice(["DSL", "Fiber optic", "No"])),
            }
            row[name] = draw[dtype]()
        if row["net_service"] == "No":
            row |= {"plan_stream_tv": None, "plan_stream_movies": None}
        if row["support_tickets_90d"] < 3:
            row["ticket_avg_resolution_hrs_90d"] = None
        return row | {"months_active": int(random.integers(0, 72)), "avg_session_mins_7d": 30.0}

    return [customer() for _ in range(count)]


GOLDEN = customers(30, seed=1)
THRESHOLD = 0.4


def fitted(family: str, calibrated: bool = False) -> Pipeline:
    """Return a pipeline of that family, which the caller may change."""
    return deepcopy(_fitted(family, calibrated))


@cache
def _fitted(family: str, calibrated: bool) -> Pipeline:
    rows = customers(900, seed=2)
    chance = [0.1 + 0.5 * (row["months_active"] < 20) + 0.03 * row["failed_payments_90d"] for row in rows]
    labels = np.random.default_rng(3).random(len(rows)) < chance
    learn = Rows(to_frame(rows, SERVICE), labels, np.arange(len(rows)).astype(str), np.ones(len(rows), dtype=bool))
    return fit(RECIPES[family, calibrated], learn, TYPES, Parameters())
