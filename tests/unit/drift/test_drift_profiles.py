"""The profile of a column: its counts on frozen bins."""

import json

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from churn.drift.reference import BINS, Profile, count_on, profile_of

NUMBERS = st.lists(st.none() | st.integers(-20, 20) | st.floats(-1e6, 1e6), max_size=60)
TEXTS = st.lists(st.none() | st.sampled_from(["DSL", "Fiber", "none", "ä"]), max_size=60)
COLUMNS = st.one_of(
    NUMBERS.map(lambda values: pa.array(values, pa.float64())),
    TEXTS.map(lambda values: pa.array(values, pa.string())),
    st.lists(st.none() | st.booleans(), max_size=60).map(lambda values: pa.array(values, pa.bool_())),
)


@given(COLUMNS)
def test_a_profile_survives_json(column):
    profile = profile_of(column)
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


@given(COLUMNS)
def test_a_column_on_its_own_bins_is_its_reference(column):
    profile = profile_of(column)
    assert count_on(column, profile) == profile
    assert (profile.rows, profile.nulls) == (len(column), column.null_count)


@given(NUMBERS, NUMBERS)
def test_every_row_is_counted_once_on_the_bins_of_another_date(now, before):
    found = count_on(pa.array(now, pa.float64()), profile_of(pa.array(before, pa.float64())))
    assert (found.rows, found.nulls, found.elsewhere) == (len(now), now.count(None), {})


@given(NUMBERS, st.randoms())
def test_the_order_of_the_rows_does_not_matter(values, random):
    shuffled = random.sample(values, len(values))
    assert profile_of(pa.array(values, pa.float64())) == profile_of(pa.array(shuffled, pa.float64()))


def test_the_bins_of_distinct_numbers_have_equal_counts():
    profile = profile_of(pa.array(np.random.default_rng(1).normal(size=1000)))
    assert profile.counts == (100,) * BINS


def test_a_frequent_value_has_a_bin_of_its_own():
    profile = profile_of(pa.array([0] * 700 + [*range(1, 301)]))
    assert (700 in profile.counts, profile.varied) == (True, 300)


def test_values_on_either_side_of_a_constant_are_in_other_bins():
    reference = profile_of(pa.array([5.0] * 100))
    assert reference.is_constant
    assert count_on(pa.array([4.9, 5.0, 5.0, 5.1]), reference).counts == (1, 2, 1)


def test_a_value_that_the_reference_did_not_have_is_counted_by_its_name():
    reference = profile_of(pa.array(["DSL", "DSL", "Fiber", None]))
    found = count_on(pa.array(["DSL", "Satellite", "Satellite", None]), reference)
    assert (found.counts, found.elsewhere, found.nulls) == ((1, 0), {"Satellite": 2}, 1)
