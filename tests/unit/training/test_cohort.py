import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from churn.training.cohort import cohorts, in_cohort

IDS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), max_size=20)


def test_about_a_fifth_of_customers_are_in_the_gate_cohort():
    share = in_cohort(f"{number:04d}-ABCDE" for number in range(20_000)).mean()
    assert 0.19 < share < 0.21


def test_the_gate_cohort_never_changes():
    # Written down when it was fixed: another answer would put customers whom models have learned from into the cohort.
    members = [user for user in (f"{number:04d}-ABCDE" for number in range(100)) if in_cohort([user])[0]]
    assert hashlib.sha256(",".join(members).encode()).hexdigest()[:16] == "3d8390aa8c68789d"


@given(IDS)
def test_cohort_membership_does_not_depend_on_other_customers(users):
    together = in_cohort(users)
    assert together.dtype == bool
    assert together.tolist() == [in_cohort([user])[0] for user in users]


def test_another_salt_is_another_cohort():
    users = [f"{number:04d}-ABCDE" for number in range(5_000)]
    both = in_cohort(users) & in_cohort(users, salt="another")
    assert 0.02 < both.mean() < 0.06
    assert not np.array_equal(in_cohort(users), in_cohort(users, salt="another"))


def test_about_a_twentieth_of_customers_are_in_the_audit_cohort_and_none_of_them_in_the_gates():
    users = [f"{number:04d}-ABCDE" for number in range(20_000)]
    gate, audit = cohorts(users)
    assert np.array_equal(gate, in_cohort(users))
    assert 0.045 < audit.mean() < 0.055
    assert not (gate & audit).any()
