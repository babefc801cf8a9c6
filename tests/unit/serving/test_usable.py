"""Which online features may be answered with."""

from datetime import date

import pytest

from churn.features.store import OnlineFeatures
from serving.answering import usable
from serving.problems import Problem

AS_OF = date(2024, 1, 31)
WHOLE = OnlineFeatures(values={"months_active": 28, "plan_stream_tv": None}, missing=(), as_of=AS_OF)
HALF = OnlineFeatures(values={"months_active": 28}, missing=("plan_stream_tv",), as_of=AS_OF)
NONE = OnlineFeatures(values={}, missing=("months_active", "plan_stream_tv"), as_of=None)


def answer(found, today=AS_OF, max_age_days=None):
    return usable("7892-POOKP", "churn_v1", found, today=today, max_age_days=max_age_days)


def refusal(found, today=AS_OF, max_age_days=None):
    with pytest.raises(Problem) as caught:
        answer(found, today, max_age_days)
    return caught.value


def test_a_null_is_a_value_and_not_a_missing_feature():
    assert answer(WHOLE).features == WHOLE.values


def test_a_customer_without_features_is_unknown_and_lacks_them_all():
    problem = refusal(NONE)
    assert (problem.type, problem.code) == ("unknown-user", 404)
    assert problem.members == {"missing_features": ["months_active", "plan_stream_tv"]}


def test_a_customer_whom_some_views_lack_is_incomplete():
    problem = refusal(HALF)
    assert (problem.type, problem.code) == ("incomplete-features", 409)
    assert problem.members == {"missing_features": ["plan_stream_tv"]}


def test_features_older_than_the_limit_are_stale():
    problem = refusal(WHOLE, today=date(2024, 2, 4), max_age_days=3)
    assert (problem.type, problem.code) == ("stale-features", 409)


def test_features_as_old_as_the_limit_are_used():
    assert answer(WHOLE, today=date(2024, 2, 3), max_age_days=3).features_as_of == AS_OF


def test_without_a_limit_no_features_are_too_old():
    assert answer(WHOLE, today=date(2034, 2, 3)).features_as_of == AS_OF
