"""What the soak counts as an answer that mixes two versions."""

import json

import pytest

from bench.serving_soak import Judge

OLD, NEW = 1, 2
TRUTH = {OLD: (0.5, [0.25, 0.75]), NEW: (0.3, [0.4, 0.6])}
USERS = ["ann", "bob"]


@pytest.fixture
def judge():
    return Judge(USERS, TRUTH, in_production=NEW, changed_at=100.0)


def answer(**changed):
    whole = {"user_id": "ann", "churn_probability": 0.4, "threshold": 0.3, "prediction": 1, "model": {"version": NEW}}
    return json.dumps(whole | changed).encode()


def test_an_answer_of_its_version_is_whole(judge):
    judge.judge(0, 101.0, answer(churn_probability=0.4 + 1e-9))
    assert (judge.mixed, judge.versions) == (0, {NEW: 1})


@pytest.mark.parametrize(
    "changed",
    [
        {"churn_probability": 0.25},
        {"threshold": 0.5},
        {"prediction": 0},
        {"user_id": "bob"},
        {"model": {"version": OLD}},
        {"model": {"version": 3}},
    ],
)
def test_an_answer_with_a_part_of_another_version_or_customer_is_mixed(judge, changed):
    judge.judge(0, 101.0, answer(**changed))
    judge.judge(0, 102.0, answer())
    assert (judge.mixed, judge.example) == (1, answer(**changed).decode())


def test_a_change_lasts_until_the_last_answer_of_the_previous_version(judge):
    before = {"churn_probability": 0.25, "threshold": 0.5, "prediction": 0, "model": {"version": OLD}}
    for sent, changed in ((104.0, before), (105.0, {}), (106.5, before), (120.0, {})):
        judge.judge(0, sent, answer(**changed))
    assert (judge.slowest_change, judge.mixed) == (6.5, 0)


def test_while_production_changes_either_version_may_answer(judge):
    judge.in_production = None
    judge.judge(0, 119.0, answer())
    assert judge.slowest_change == 0
