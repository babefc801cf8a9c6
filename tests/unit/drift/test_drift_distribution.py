"""The shares of a flagged column that the page draws."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.drift.distribution import MOST, distribution_of
from churn.drift.reference import BINS, count_on, profile_of

NUMBERS = st.lists(st.none() | st.integers(-9, 9) | st.floats(-1e6, 1e6), min_size=1, max_size=60)
TEXTS = st.lists(st.none() | st.text("abc", max_size=3), min_size=1, max_size=60)
SIDES = st.one_of(
    st.tuples(NUMBERS, NUMBERS).map(lambda sides: [pa.array(side, pa.float64()) for side in sides]),
    st.tuples(TEXTS, TEXTS).map(lambda sides: [pa.array(side, pa.string()) for side in sides]),
)


def spread(now, before):
    reference = profile_of(pa.array(before))
    return distribution_of(count_on(pa.array(now), reference), reference)


@given(SIDES)
def test_the_shares_of_each_side_add_up_to_1(sides):
    found = spread(*sides)
    for place, shares in enumerate((found.reference, found.now)):
        others = found.other[place] if found.other else 0
        assert sum(shares) + others + found.nulls[place] == pytest.approx(1, abs=1e-4 * 25)


@given(SIDES)
def test_there_are_few_bins_each_with_a_name_of_its_own_place_and_rows_on_a_side(sides):
    found = spread(*sides)
    assert len(found.bins) == len(found.reference) == len(found.now) <= MOST + 1
    assert all(before or after for before, after in zip(found.reference, found.now, strict=True))


def test_a_shift_moves_the_shares_of_equal_bins():
    values = np.arange(1, 1001.0)
    found = spread(values + 100, values)
    assert found.bins == ("up to 100", *(f"{low} to {low + 100}" for low in range(100, 900, 100)), "above 900")
    assert found.reference == (0.1,) * BINS
    assert found.now == (0.0, *(0.1,) * 8, 0.2)


def test_a_frequent_number_is_named_without_a_range_and_empty_bins_are_left_out():
    found = spread([0] * 50 + [1] * 50, [0] * 80 + [1] * 20)
    assert (found.bins, found.reference, found.now) == (("0", "1"), (0.8, 0.2), (0.5, 0.5))


def test_numbers_on_either_side_of_a_frequent_one_have_names():
    found = spread([-1, 0, 0.5, 7], [0, 0, 0, 0])
    assert (found.bins, found.now) == (("below 0", "0", "above 0"), (0.25, 0.25, 0.5))


def test_nulls_are_a_share_of_all_rows_on_both_sides():
    found = spread([1.0, None, None, None], [1.0, 1.0, 1.0, None])
    assert (found.nulls, found.reference, found.now) == ((0.25, 0.75), (0.75,), (0.25,))


def test_a_reference_without_values_has_one_bin():
    found = spread([1.0, None], pa.nulls(4, pa.float64()))
    assert (found.bins, found.reference, found.now, found.nulls) == (("any value",), (0.0,), (0.5,), (1.0, 0.5))


def test_a_new_category_has_a_share_of_its_own_and_the_largest_comes_first():
    found = spread(["DSL"] * 5 + ["Satellite"] * 5, ["DSL"] * 3 + ["Fiber"] * 7)
    assert found.bins == ("Fiber", "DSL", "Satellite")
    assert (found.reference, found.now, found.other) == ((0.7, 0.3, 0.0), (0.0, 0.5, 0.5), None)


def test_booleans_are_counted_by_value():
    found = spread([True, None], [True, False])
    assert (found.bins, found.reference, found.now) == (("false", "true"), (0.5, 0.5), (0.0, 0.5))


def test_of_many_texts_the_rare_ones_are_together():
    before = ["often"] * 60 + [f"text {number}" for number in range(40)]
    found = spread(["often"] * 100, before)
    assert (found.bins[0], len(found.bins)) == ("often", MOST)
    assert found.other == (0.21, 0.0)


def test_shares_have_four_decimals():
    assert spread(["a", "b", "b"], ["a"] * 2 + ["b"]).reference == (0.6667, 0.3333)


@pytest.mark.parametrize(
    ("value", "name"), [(12_345.6, "12,350"), (0.123456, "0.1235"), (-3.0, "-3"), (1_234_567.0, "1.235e+06")]
)
def test_bounds_have_four_significant_digits(value, name):
    assert spread([value], [value]).bins == (name,)
