"""The explanation of a prediction: the difference that each feature's value makes beside those of other customers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.scoring import explanation
from churn.scoring.explanation import Effect
from churn.scoring.scorer import Scorer

Rows = Sequence[Mapping[str, Any]]

small = st.integers(-20, 20)
linear_rows = st.fixed_dictionaries({"months": small, "fee": small, "skips": small})


class Scored(Scorer):
    """Scores rows by a function."""

    def __init__(self, function: Callable[[Rows], np.ndarray]) -> None:
        self._function = function

    def probabilities(self, rows: Rows) -> np.ndarray:
        return self._function(rows)


def explain(function: Callable[[Rows], np.ndarray], row: Mapping[str, Any], background: Rows) -> list[Effect]:
    return explanation.explain(Scored(function), [row], background)[0]


def linear(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Not a probability, but what can be checked by hand."""
    return np.array([3.0 * row["months"] - 2.0 * row["fee"] for row in rows])


@given(linear_rows, st.lists(linear_rows, min_size=1, max_size=30))
def test_in_a_sum_an_effect_is_the_weight_times_the_difference_from_the_mean(row, background):
    effects = {each.feature: each.effect for each in explain(linear, row, background)}
    mean = {name: np.mean([other[name] for other in background]) for name in row}
    assert effects["months"] == pytest.approx(3.0 * (row["months"] - mean["months"]), abs=1e-9)
    assert effects["fee"] == pytest.approx(-2.0 * (row["fee"] - mean["fee"]), abs=1e-9)
    assert effects["skips"] == 0.0


@given(linear_rows, st.lists(linear_rows, min_size=1, max_size=30))
def test_the_largest_effects_come_first_whichever_their_sign(row, background):
    sizes = [abs(each.effect) for each in explain(linear, row, background)]
    assert sizes == sorted(sizes, reverse=True)


def test_an_effect_names_the_feature_its_value_and_how_it_moved_the_probability():
    def risky(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        return np.array([0.8 if row["net"] is None else 0.2 for row in rows])

    background = [{"net": "DSL"}, {"net": "DSL"}, {"net": None}]
    assert explain(risky, {"net": None}, background) == [Effect("net", None, pytest.approx(0.4))]
    assert explain(risky, {"net": "DSL"}, background) == [Effect("net", "DSL", pytest.approx(-0.2))]


def test_equal_values_of_the_background_are_scored_once():
    calls: list[int] = []

    def counted(rows: Rows) -> np.ndarray:
        calls.append(len(rows))
        return np.zeros(len(rows))

    explain(counted, {"tv": True, "net": "DSL"}, [{"tv": n % 2 == 0, "net": "No"} for n in range(50)])
    assert calls == [1, 2, 1]


@given(st.lists(linear_rows, min_size=1, max_size=9), st.lists(linear_rows, min_size=1, max_size=9), st.integers(1, 3))
def test_many_rows_are_explained_as_each_alone_is(rows, background, count):
    # Features in one order: st.fixed_dictionaries() shuffles them.
    rows = [{name: row[name] for name in ("months", "fee", "skips")} for row in rows]
    together = explanation.explain(Scored(linear), rows, background, count)
    assert together == [explain(linear, row, background)[:count] for row in rows]


def test_an_explanation_without_other_customers_is_an_error():
    with pytest.raises(ValueError, match="background rows"):
        explain(linear, {"months": 1}, [])
