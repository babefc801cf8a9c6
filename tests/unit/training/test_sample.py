import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.training.cohort import SALT, cohorts, positions
from churn.training.sample import COHORT_CUSTOMERS, Sample, share_of

USERS = [f"{number:05d}-ABCDE" for number in range(20_000)]
POSITIONS = positions(USERS, SALT)
GATE, AUDIT = cohorts(USERS)
SHARES = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)


def drawn(sample):
    """The mask of the customers in the sample, by its bounds."""
    bounds = np.array([int.from_bytes(bound) / 2.0**64 for bound in sample.bounds])
    return np.searchsorted(bounds, POSITIONS, side="right") % 2 == 1


@given(SHARES, SHARES)
def test_a_sample_has_its_share_of_each_cohort_and_of_the_others(of_cohorts, of_others):
    mask = drawn(Sample(of_cohorts, of_others))
    # Of 1,000 customers, four standard errors of a share are 0.06.
    for group, share in ((GATE, of_cohorts), (AUDIT, of_cohorts), (~(GATE | AUDIT), of_others)):
        assert mask[group].mean() == pytest.approx(share, abs=0.06)
        assert share not in (0.0, 1.0) or mask[group].mean() == share


@given(SHARES, SHARES, SHARES)
def test_a_smaller_sample_is_part_of_a_larger_one(of_cohorts, one, other):
    smaller, larger = sorted((one, other))
    assert not (drawn(Sample(of_cohorts, smaller)) & ~drawn(Sample(of_cohorts, larger))).any()
    assert not (drawn(Sample(smaller, of_cohorts)) & ~drawn(Sample(larger, of_cohorts))).any()


@pytest.mark.parametrize(
    ("most", "customers", "share"),
    [(1000, 0, 1.0), (1000, 1000, 1.0), (1000, 1001, 1.0), (1000, 3000, 0.334), (COHORT_CUSTOMERS, 10_000_000, 0.05)],
)
def test_a_share_is_whole_up_to_the_limit_and_rounded_up_above(most, customers, share):
    assert share_of(most, customers) == share


def test_an_erased_customer_changes_no_share_of_millions():
    assert share_of(COHORT_CUSTOMERS, 3_000_000) == share_of(COHORT_CUSTOMERS, 2_999_999)
