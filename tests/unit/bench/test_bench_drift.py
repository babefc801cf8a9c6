"""The benchmark of drift judges nights as the pipeline does."""

import numpy as np
import pytest

from bench.drift import CHANGES, Change, World


def world(customers, seed=1):
    return World(customers, np.random.default_rng(seed), daily=True)


def test_quiet_nights_are_not_flagged():
    chain = world(1_400)
    assert [chain.pass_quiet_night() for _ in range(10)] == [[]] * 10


@pytest.mark.parametrize("change", [CHANGES["new category, 5 %"], Change("monthly_fee", shift=1.0)])
def test_a_large_drift_is_found_in_the_first_night(change):
    assert world(5_000).nights_to_find(change) == 1


def test_a_drift_is_found_in_its_column_alone():
    chain = world(5_000)
    chain.version = chain.train()
    _, found = chain.judge_night(0, Change("monthly_fee", shift=1.0))
    assert {each.column for each in found} == {"monthly_fee"}


def test_a_drift_of_too_few_rows_is_not_found():
    assert world(200).nights_to_find(CHANGES["number + 0.25 sd"]) is None
