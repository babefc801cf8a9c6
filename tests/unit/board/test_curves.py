"""Gains, lift and depths of a list, from groups of customers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.board.curves import BINS, DEPTHS, Group, curves_of, gain, last_rank, lift


def a_group(depth: int, churned: int, customers: int = 10, labelled: int | None = None, **different) -> Group:
    values = {
        "decile": -(-depth // 10),
        "bin": BINS - 1 - (depth - 1) * BINS // DEPTHS,
        "treat": customers - 1,
        "expected": customers * 0.5,
        "expected_treat": (customers - 1) * 0.5,
        "revenue_at_risk": customers * 30.0,
    } | different
    return Group(
        depth=depth,
        customers=customers,
        labelled=customers if labelled is None else labelled,
        churned=churned,
        **values,
    )


HALF = [a_group(depth, churned=8 if depth <= 50 else 2) for depth in range(1, DEPTHS + 1)]
"""A list of 1,000 whose upper half holds 400 of the 500 leavers."""


def test_the_gain_of_a_depth_is_its_share_of_the_leavers():
    depths = curves_of(HALF).depths
    assert [depths[depth - 1].gain for depth in (25, 50, 75, 100)] == pytest.approx([0.4, 0.8, 0.9, 1.0])


def test_the_lift_of_a_depth_is_its_rate_over_the_rate_of_the_whole_list():
    depths = curves_of(HALF).depths
    assert [depths[depth - 1].lift for depth in (25, 50, 100)] == pytest.approx([1.6, 1.6, 1.0])


def test_a_depth_holds_everybody_above_it():
    depths = curves_of(HALF).depths
    found = depths[29]
    assert (found.number, found.customers, found.treat, found.expected) == (30, 300, 270, 150.0)


def test_a_decile_stands_alone():
    deciles = curves_of(HALF).deciles
    assert [(each.number, each.customers, each.churned) for each in deciles][4:6] == [(5, 100, 80), (6, 100, 20)]
    assert deciles[9].lift == pytest.approx(0.4)


def test_without_labels_nothing_is_said_about_gain_and_lift():
    curves = curves_of([a_group(depth, churned=0, labelled=0) for depth in range(1, DEPTHS + 1)])
    assert {(each.gain, each.lift) for each in curves.depths} == {(None, None)}
    assert (curves.customers, curves.labelled, curves.churned) == (1000, 0, 0)


def test_a_step_without_labels_has_no_lift_of_its_own_and_the_gain_of_nobody():
    groups = [a_group(1, churned=0, labelled=0), *(a_group(depth, churned=1) for depth in range(2, DEPTHS + 1))]
    assert (curves_of(groups).depths[0].gain, curves_of(groups).depths[0].lift) == (0.0, None)


def test_a_list_without_customers_has_no_depths():
    curves = curves_of([])
    assert (curves.customers, curves.depths, curves.deciles, sum(curves.bins)) == (0, [], [], 0)


def test_bins_count_every_customer_once():
    assert sum(curves_of(HALF).bins) == 1000


@given(customers=st.integers(1, 10**7), depth=st.integers(1, DEPTHS))
def test_the_last_rank_of_a_depth_is_the_last_one_that_the_statement_puts_into_it(customers, depth):
    def depth_of(rank: int) -> int:
        return (rank - 1) * DEPTHS // customers + 1

    last = last_rank(depth, customers)
    assert depth_of(last) <= depth
    assert last == customers or depth_of(last + 1) > depth


@given(customers=st.integers(1, 10**7))
def test_depth_ten_is_the_first_of_ten_groups_as_ntile_makes_them(customers):
    assert last_rank(10, customers) == -(-customers // 10)


@given(churned=st.integers(0, 50), labelled=st.integers(0, 100), more=st.integers(0, 50), others=st.integers(50, 100))
def test_gain_is_a_share_and_lift_is_gain_over_the_share_of_the_labelled(churned, labelled, more, others):
    labelled = max(labelled, churned)
    everybody, all_churned = labelled + others, churned + more
    share, times = gain(churned, all_churned), lift(churned, labelled, all_churned, everybody)
    if all_churned:
        assert 0 <= share <= 1
        if labelled:
            assert times == pytest.approx(share / (labelled / everybody))
    else:
        assert (share, times) == (None, None)
