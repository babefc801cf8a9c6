"""The control arm: a fixed share, the same for ever, independent of the gate and audit cohorts."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from churn.scores.arms import CONTROL, TREAT, arms
from churn.training.cohort import cohorts

USERS = [f"u{number:06}" for number in range(50_000)]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.10, 0.5])
def test_the_share_of_the_control_arm_is_that_of_the_setting(share):
    found = arms(USERS, share)
    assert set(found) <= {CONTROL, TREAT}
    assert (found == CONTROL).mean() == pytest.approx(share, abs=0.005)


def test_an_arm_depends_on_nothing_but_the_user():
    assert np.array_equal(arms(USERS, 0.1)[::-1], arms(USERS[::-1], 0.1))
    assert arms(["u000000", "u000001", "u000002"], 0.5).tolist() == arms(USERS[:3], 0.5).tolist()


def test_a_larger_share_only_adds_users():
    small, large = (arms(USERS, share) == CONTROL for share in (0.05, 0.10))
    assert not (small & ~large).any()


@pytest.mark.parametrize("cohort", [0, 1], ids=["gate cohort", "audit cohort"])
def test_arms_are_independent_of_the_cohorts(cohort):
    member, control = cohorts(USERS)[cohort], arms(USERS, 0.1) == CONTROL
    table = np.array([[(member & control).sum(), (member & ~control).sum()],
                      [(~member & control).sum(), (~member & ~control).sum()]])  # fmt: skip
    assert chi2_contingency(table).pvalue > 0.01


def test_no_users_have_no_arms():
    assert arms([], 0.1).tolist() == []
