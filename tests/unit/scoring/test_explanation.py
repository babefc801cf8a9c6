"""The explanation of a prediction: the difference that each feature's value makes beside those of other customers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.scoring.explanation import Effect, explain

small = st.integers(-20, 20)
linear_rows = st.fixed_dictionaries({"months": small, "fee": small, "skips": small})


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


def test_everything_is_scored_in_one_call_and_equal_values_once():
    calls: list[int] = []

    def counted(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        calls.append(len(rows))
        return np.zeros(len(rows))

    explain(counted, {"tv": True, "net": "DSL"}, [{"tv": n % 2 == 0, "net": "No"} for n in range(50)])
    assert calls == [1 + 2 + 1]


def test_an_explanation_without_other_customers_is_an_error():
    with pytest.raises(ValueError, match="other customers"):
        explain(linear, {"months": 1}, [])
