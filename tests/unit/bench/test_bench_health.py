"""The simulated lists are what their tables say."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bench import health_expected
from bench.health_expected import AUC, SHIFTS, expectations, turns

NAMES = [shift.name for shift in SHIFTS]


def a_bench(repeats: int) -> SimpleNamespace:
    return SimpleNamespace(repeats=repeats, say=lambda _: None)


def test_the_model_learns_the_relation_and_its_auc_moves_with_the_shift():
    random = np.random.default_rng(1)
    model = health_expected._fitted(random, "logistic regression")
    lists = [health_expected._customers(random, 40_000, shift) for shift in SHIFTS]
    found = dict(zip(NAMES, (roc_auc_score(y, health_expected._scores(model, x)) for x, y in lists), strict=True))
    assert found["none"] == pytest.approx(AUC, abs=0.01)
    assert found["spread * 1.5"] > AUC + 0.04
    rates = dict(zip(NAMES, (labels.mean() for _, labels in lists), strict=True))
    assert rates["mean - 0.5 sd"] < rates["none"] - 0.1 < rates["mean + 0.5 sd"] - 0.2


def test_every_case_has_the_figures_of_its_lists(monkeypatch):
    monkeypatch.setattr(health_expected, "LISTS", {1_400: 200})
    monkeypatch.setattr(health_expected, "CALIBRATED", (1_400,))
    monkeypatch.setattr(health_expected, "TREES", ())
    rows = expectations(a_bench(8))
    assert [(row["shift"], row["lists"]) for row in rows] == [(name, 8) for name in NAMES]
    for row in rows:
        assert 0 < abs(row["mean error"]) < row["largest"] < 0.1
        assert row["auc covered %"] >= 50


def test_a_turned_relation_is_not_believed_and_another_is():
    rows = {(row["turn"], row["list"]): row for row in turns(a_bench(12))}
    assert rows[1.0, 7_000]["realized AUC"] == pytest.approx(0.5, abs=0.02)
    assert rows[1.0, 7_000]["not believed %"] == 100
    assert rows[0.0, 7_000]["not believed %"] < 40
