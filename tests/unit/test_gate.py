"""The gate's rule, on figures alone."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.gate import INVALID, KEEP, PROMOTE, Evidence, Production, Thresholds, decide

SIGNATURE = [("months_active", "long"), ("monthly_fee", "double")]
JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)


def scores_with_auc(labels: np.ndarray, auc: float) -> np.ndarray:
    """Scores by which a leaver stands above a share `auc` of the others."""
    scores = np.empty(len(labels))
    scores[~labels] = np.linspace(0.0, 1.0, (~labels).sum())
    scores[labels] = auc
    return scores


LABELS = np.arange(1000) % 4 == 0


def evidence(**changes) -> Evidence:
    """A candidate of February with AUC 0.80, nothing in Production."""
    plain = Evidence(
        candidate=2,
        as_of=FEBRUARY,
        signature=SIGNATURE,
        service_signature=SIGNATURE,
        graded_on=FEBRUARY,
        out_of_time=True,
        labels=LABELS,
        scores=scores_with_auc(LABELS, 0.80),
        production=None,
    )
    return replace(plain, **changes)


def in_production(auc: float = 0.80, as_of: date = JANUARY, problem: str | None = None) -> Production:
    return Production(1, as_of, None if problem else scores_with_auc(LABELS, auc), problem)


def failed(decision) -> list[str]:
    return [check.name for check in decision.checks if not check.passed]


def test_with_nothing_in_production_a_good_candidate_is_promoted():
    decision = decide(evidence())
    assert (decision.outcome, decision.production_auc) == (PROMOTE, None)
    assert decision.candidate_auc == pytest.approx(0.80, abs=0.002)
    assert "nothing is in Production" in decision.reason


def test_a_newer_candidate_as_good_as_production_is_promoted():
    decision = decide(evidence(production=in_production(0.80)))
    assert decision.outcome == PROMOTE
    assert "0.800 against 0.800 of version 1" in decision.reason


def test_a_candidate_a_little_worse_than_production_is_promoted():
    assert decide(evidence(production=in_production(0.815))).outcome == PROMOTE


def test_a_candidate_worse_than_production_by_more_than_the_margin_is_kept_back():
    decision = decide(evidence(production=in_production(0.83)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["not_worse"])
    assert "at most 0.02 less" in decision.reason


def test_an_older_candidate_is_never_promoted_however_good():
    decision = decide(evidence(as_of=JANUARY, production=in_production(0.60, as_of=FEBRUARY)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["not_older"])
    assert "2024-01-31" in decision.reason
    assert "2024-02-29" in decision.reason


def test_a_candidate_of_the_same_as_of_may_replace_production():
    assert decide(evidence(production=in_production(0.80, as_of=FEBRUARY))).outcome == PROMOTE


def test_a_candidate_below_the_floor_is_kept_back_even_with_nothing_in_production():
    decision = decide(evidence(scores=scores_with_auc(LABELS, 0.54)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["auc_floor"])


def test_too_few_rows_are_not_enough_evidence():
    few = LABELS[:150]
    decision = decide(evidence(labels=few, scores=scores_with_auc(few, 0.9)))
    assert decision.outcome == KEEP
    assert "rows" in failed(decision)


@pytest.mark.parametrize("leavers", [0, 29, 971, 1000])
def test_too_few_of_a_class_are_not_enough_evidence(leavers):
    labels = np.arange(1000) < leavers
    decision = decide(evidence(labels=labels, scores=np.where(labels, 0.9, 0.1)))
    assert decision.outcome == KEEP
    assert "each_class" in failed(decision)


def test_a_signature_that_is_not_the_feature_services_is_invalid():
    decision = decide(evidence(signature=SIGNATURE[:1]))
    assert decision.outcome == INVALID
    assert "missing [('monthly_fee', 'double')]" in decision.reason


def test_a_signature_in_another_order_is_invalid():
    decision = decide(evidence(signature=SIGNATURE[::-1]))
    assert decision.outcome == INVALID
    assert "the order differs" in decision.reason


def test_a_candidate_that_does_not_load_is_invalid():
    decision = decide(evidence(load_problem="no model.skops"))
    assert decision.outcome == INVALID
    assert "no model.skops" in decision.reason


def test_invalid_outweighs_every_other_failure():
    decision = decide(evidence(load_problem="gone", production=in_production(0.99, as_of=date(2024, 3, 31))))
    assert decision.outcome == INVALID
    assert decision.reason == "the candidate does not load: gone"


def test_a_production_that_cannot_be_compared_is_kept_and_a_person_is_asked():
    decision = decide(evidence(production=in_production(problem="its cohort salt is 'other'")))
    assert (decision.outcome, decision.needs_person) == (KEEP, True)
    assert "its cohort salt is 'other'" in decision.reason


def test_no_person_is_asked_about_a_candidate_that_fails_by_itself():
    weak = evidence(scores=scores_with_auc(LABELS, 0.5), production=in_production(problem="does not load"))
    assert decide(weak).needs_person is False


def test_what_was_promoted_once_and_replaced_is_not_brought_back():
    decision = decide(evidence(was_promoted=True, production=in_production(0.60)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["first_promotion"])


def test_every_threshold_is_what_the_caller_says():
    strict = Thresholds(max_auc_loss=0.0)
    assert decide(evidence(production=in_production(0.81)), strict).outcome == KEEP


def test_a_decision_goes_into_json_with_every_check():
    report = json.loads(json.dumps(decide(evidence(production=in_production())).to_json()))
    assert {check["name"] for check in report["checks"]} == {
        "signature",
        "loads",
        "rows",
        "each_class",
        "auc_floor",
        "first_promotion",
        "not_older",
        "production_comparable",
        "not_worse",
    }
    assert report["thresholds"]["max_auc_loss"] == 0.02


@given(
    candidate_auc=st.floats(0.0, 1.0),
    production_auc=st.none() | st.floats(0.0, 1.0),
    rows=st.integers(0, 600),
    newer=st.booleans(),
)
def test_whatever_the_figures_nothing_is_promoted_that_fails_a_check(candidate_auc, production_auc, rows, newer):
    labels = LABELS[:rows]
    production = None
    if production_auc is not None:
        production = Production(1, JANUARY if newer else date(2024, 3, 31), scores_with_auc(labels, production_auc))
    decision = decide(evidence(labels=labels, scores=scores_with_auc(labels, candidate_auc), production=production))
    assert decision.outcome in (PROMOTE, KEEP)
    assert (decision.outcome == PROMOTE) == (not failed(decision))
    if production and not newer:
        assert decision.outcome == KEEP
    assert decision.reason
