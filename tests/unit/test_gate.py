"""The gate's rule, on figures alone."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from churn.cohort import SALT
from churn.gate.evidence import Audit, Evidence, Graded, Loading
from churn.gate.rule import INVALID, KEEP, PROMOTE, decide, with_audit
from churn.gate.thresholds import ThresholdError, Thresholds
from churn.statistics import Estimate

SIGNATURE = [("months_active", "long"), ("monthly_fee", "double")]
JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)


LABELS = np.arange(1000) % 4 == 0
BASE = np.random.default_rng(9).normal(size=1000)


def alike(auc: float, noise: float = 0.05, seed: int = 3, labels: np.ndarray = LABELS) -> np.ndarray:
    """Scores of about this AUC, by a model that errs for the most part like every other one made here."""
    own = np.random.default_rng(seed).normal(size=len(labels))
    signal = np.sqrt(2) * ndtri(auc) * labels
    return 1 / (1 + np.exp(-(signal + BASE[: len(labels)] + noise * own)))


def evidence(**changes) -> Evidence:
    """A candidate of February with AUC 0.80, nothing in Production."""
    model = {
        name: changes.pop(name) for name in ("scores", "as_of", "trained_on_cohort", "out_of_fold_auc") & changes.keys()
    }
    plain = Evidence(
        candidate=replace(
            Graded(
                2, FEBRUARY, alike(0.80), trained_on_cohort=0, cohort_salt=SALT, out_of_fold_auc=Estimate(0.8, 0.01)
            ),
            **model,
        ),
        production=None,
        anchor=None,
        signature=SIGNATURE,
        service_signature=SIGNATURE,
        graded_on=FEBRUARY,
        out_of_time=True,
        labels=LABELS,
        train_rows=5_000,
        train_churned=1_000,
    )
    return replace(plain, **changes)


def rival(auc: float = 0.80, as_of: date = JANUARY, version: int = 1, **changes) -> Graded:
    """A version that was kept from the cohort, of that AUC."""
    honest = {"trained_on_cohort": 0, "cohort_salt": SALT, "out_of_fold_auc": Estimate(auc, 0.01)}
    return Graded(version, as_of, alike(auc, seed=4), **(honest | changes))


def failed(decision) -> list[str]:
    return [check.name for check in decision.checks if check.outcome == "FAIL"]


def test_with_nothing_in_production_a_good_candidate_is_promoted_and_becomes_the_anchor():
    decision = decide(evidence())
    assert (decision.outcome, decision.production_auc, decision.superior) == (PROMOTE, None, True)
    assert decision.candidate_auc.value == pytest.approx(0.80, abs=0.03)
    assert "nothing is in Production" in decision.reason


def test_a_newer_candidate_as_good_as_production_is_promoted_and_is_no_anchor():
    decision = decide(evidence(production=rival(0.80)))
    assert (decision.outcome, decision.superior) == (PROMOTE, False)
    assert "of version 1, in Production" in decision.reason


def test_a_candidate_shown_to_be_better_is_superior():
    decision = decide(evidence(scores=alike(0.84), production=rival(0.80)))
    assert (decision.outcome, decision.superior) == (PROMOTE, True)


def test_a_candidate_worse_by_more_than_the_margin_is_kept_back():
    decision = decide(evidence(scores=alike(0.77), production=rival(0.80)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["not_worse"])
    assert "more than -0.02 is asked" in decision.reason


def test_a_candidate_that_is_not_shown_to_be_within_the_margin_is_kept_back():
    """As good by its figure, but with an interval that reaches beyond the margin."""
    doubtful = evidence(scores=alike(0.87, noise=1.0), out_of_fold_auc=None, production=rival(0.80))
    decision = decide(doubtful, Thresholds(max_brier_loss=1))
    check = next(check for check in decision.checks if check.name == "not_worse")
    assert decision.against_production.auc.value > -0.02 > check.figure
    assert (decision.outcome, failed(decision)) == (KEEP, ["not_worse"])


def test_identical_scores_are_unchanged_and_promoted():
    same = alike(0.80)
    decision = decide(evidence(scores=same, production=replace(rival(), scores=same)))
    check = next(check for check in decision.checks if check.name == "not_worse")
    assert (decision.outcome, check.outcome, check.figure) == (PROMOTE, "UNCHANGED", 0.0)
    assert not decision.superior


def test_identical_scores_are_not_better():
    same = alike(0.80)
    asked = Thresholds(require_superior=True)
    decision = decide(evidence(scores=same, production=replace(rival(), scores=same)), asked)
    assert (decision.outcome, failed(decision)) == (KEEP, ["not_worse"])


def test_where_superiority_is_asked_an_equal_is_kept_back_and_a_better_one_is_not():
    asked = Thresholds(require_superior=True)
    assert failed(decide(evidence(production=rival()), asked)) == ["not_worse"]
    assert decide(evidence(scores=alike(0.84), production=rival()), asked).outcome == PROMOTE


def test_a_candidate_far_below_the_anchor_is_kept_back_though_it_is_as_good_as_production():
    decision = decide(evidence(scores=alike(0.77), production=rival(0.77), anchor=rival(0.81, version=3)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["not_worse_than_anchor"])
    assert "version 3, the anchor" in decision.reason


def test_superiority_is_asked_against_production_and_not_against_the_anchor():
    asked = Thresholds(require_superior=True)
    found = decide(evidence(scores=alike(0.84), production=rival(0.80), anchor=rival(0.84, version=3)), asked)
    assert found.outcome == PROMOTE


def test_an_older_candidate_is_never_promoted_however_good():
    decision = decide(evidence(as_of=JANUARY, graded_on=JANUARY, production=rival(0.60, FEBRUARY)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["not_older"])
    assert "2024-01-31" in decision.reason
    assert "2024-02-29" in decision.reason


def test_a_candidate_of_the_same_as_of_may_replace_production():
    assert decide(evidence(production=rival(0.80, FEBRUARY))).outcome == PROMOTE


def test_a_candidate_below_the_floor_is_kept_back_even_with_nothing_in_production():
    decision = decide(evidence(scores=alike(0.5, seed=8), out_of_fold_auc=Estimate(0.5, 0.01)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["auc_floor"])


def test_too_few_rows_are_not_enough_evidence():
    few = LABELS[:150]
    decision = decide(evidence(labels=few, scores=alike(0.9, labels=few), out_of_fold_auc=None))
    assert (decision.outcome, failed(decision)) == (KEEP, ["rows"])


@pytest.mark.parametrize("leavers", [0, 1, 29, 971, 999, 1000])
def test_too_few_of_a_class_are_not_enough_evidence(leavers):
    labels = np.arange(1000) < leavers
    decision = decide(evidence(labels=labels, scores=np.where(labels, 0.9, 0.1), out_of_fold_auc=None))
    assert decision.outcome == KEEP
    assert "each_class" in failed(decision)


def test_labels_that_are_too_old_say_nothing_of_today():
    decision = decide(evidence(as_of=date(2024, 6, 30)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["label_age"])
    assert "122 days older" in decision.reason


def test_a_signature_that_is_not_the_feature_services_is_invalid():
    decision = decide(evidence(signature=SIGNATURE[:1]))
    assert decision.outcome == INVALID
    assert "missing [('monthly_fee', 'double')]" in decision.reason


def test_a_signature_in_another_order_is_invalid():
    decision = decide(evidence(signature=SIGNATURE[::-1]))
    assert decision.outcome == INVALID
    assert "the order differs" in decision.reason


@pytest.mark.parametrize(
    ("changes", "check"),
    [({"trained_on_cohort": 3}, "disjoint"), ({"out_of_fold_auc": Estimate(0.65, 0.01)}, "leak_alarm")],
)
def test_a_candidate_that_learned_from_the_cohort_is_invalid(changes, check):
    decision = decide(evidence(**changes))
    assert (decision.outcome, failed(decision)) == (INVALID, [check])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"trained_on_cohort": 3}, "trained on 3 customers of the gate cohort"),
        ({"trained_on_cohort": None}, "does not say which customers"),
        ({"cohort_salt": "another"}, "cohort salt is 'another'"),
        ({"out_of_fold_auc": Estimate(0.65, 0.01)}, "too well"),
        ({"scores": None, "problem": "it does not load"}, "it does not load"),
    ],
)
@pytest.mark.parametrize("role", ["production", "anchor"])
def test_with_a_version_that_cannot_be_compared_fairly_a_person_is_asked(changes, says, role):
    compared = {"production": rival(), "anchor": rival(version=3)}
    compared[role] = replace(compared[role], **changes)
    decision = decide(evidence(**compared))
    assert (decision.outcome, decision.needs_person, failed(decision)) == (KEEP, True, [f"{role}_comparable"])
    assert says in decision.reason


def test_no_person_is_asked_about_a_candidate_that_fails_by_itself():
    weak = evidence(scores=alike(0.5), out_of_fold_auc=None, production=replace(rival(), cohort_salt="another"))
    assert decide(weak).needs_person is False


@pytest.mark.parametrize(
    ("loading", "check"), [(Loading(problem="no model.skops"), "loads"), (Loading(None, 1e-4, 5.0), "golden_rows")]
)
def test_a_candidate_that_is_another_one_where_serving_loads_it_is_invalid(loading, check):
    decision = decide(evidence(loading=loading))
    assert (decision.outcome, failed(decision)) == (INVALID, [check])


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"loading": Loading(None, 0.0, 250.0)}, "latency"),
        ({"online_problem": "nothing is served"}, "online_features"),
        ({"pinned": "pinned by ada"}, "not_pinned"),
    ],
)
def test_what_keeps_a_candidate_from_going_out_today_may_pass(changes, check):
    decision = decide(evidence(**changes))
    assert (decision.outcome, failed(decision), decision.passing_away) == (KEEP, [check], True)


def test_a_pinned_production_turns_a_promotion_into_a_recommendation():
    assert decide(evidence(pinned="pinned by ada")).recommendation == PROMOTE
    assert decide(evidence(pinned="pinned by ada", scores=alike(0.5), out_of_fold_auc=None)).recommendation is None
    assert decide(evidence()).recommendation is None


def test_invalid_outweighs_every_other_failure():
    decision = decide(evidence(loading=Loading(problem="gone"), production=rival(0.9, date(2024, 3, 31))))
    assert decision.outcome == INVALID
    assert decision.reason == "the candidate does not load: gone"


def test_what_was_promoted_once_and_replaced_is_not_brought_back():
    decision = decide(evidence(was_promoted=True, production=rival(0.60)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["first_promotion"])


def test_probabilities_that_lie_are_kept_back_though_they_rank_as_well():
    honest = rival()
    lying = decide(evidence(scores=honest.scores**0.25, production=honest))
    assert failed(lying) == ["calibration"]
    assert lying.against_production.auc.value == 0


def test_a_slice_that_is_harmed_blocks_and_one_that_differs_by_chance_does_not():
    some = np.arange(1000) % 3 == 0
    theirs = rival()
    harmed = np.where(some, alike(0.55, noise=0.1, seed=11), theirs.scores)
    limits = Thresholds(max_auc_loss=0.5, max_brier_loss=1)
    found = decide(evidence(scores=harmed, production=theirs, slices={"some": some, "others": ~some}), limits)
    assert failed(found) == ["slices"]
    assert [each.name for each in found.slices if each.harmed] == ["some"]
    fine = decide(evidence(production=theirs, slices={"some": some, "others": ~some}), limits)
    assert failed(fine) == []


def test_a_slice_too_small_to_tell_is_reported_and_not_judged():
    few = np.arange(1000) < 60
    found = decide(evidence(production=rival(), slices={"few": few}))
    assert (found.slices[0].rows, found.slices[0].p_value, found.slices[0].harmed) == (60, None, False)


def test_a_small_training_set_must_know_more_than_chance():
    random = np.random.default_rng(6)
    guess = random.random(1000)
    limits = Thresholds(min_auc=0.4)
    assert failed(decide(evidence(scores=guess, out_of_fold_auc=None, train_rows=500), limits)) == [
        "better_than_chance"
    ]
    assert failed(decide(evidence(train_rows=500), limits)) == []
    assert "better_than_chance" not in {check.name for check in decide(evidence()).checks}


def test_every_threshold_is_what_the_caller_says():
    assert decide(evidence(production=rival()), Thresholds(max_auc_loss=0.0)).outcome == KEEP
    assert decide(evidence(), Thresholds().override({"min_rows": 1001})).outcome == KEEP


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"min_row": 1}, "there is no threshold 'min_row'"),
        ({"min_rows": 1.5}, "whole number"),
        ({"min_auc": "0.5"}, "a number"),
        ({"min_auc": True}, "a number"),
        ({"require_superior": 1}, "true or false"),
        ({"confidence": 1.0}, "between 0.5 and 1"),
    ],
)
def test_an_override_that_is_none_is_refused_and_says_what_it_must_be(values, says):
    with pytest.raises(ThresholdError, match=says):
        Thresholds().override(values)


def test_the_audit_cohort_is_beside_the_decision_and_changes_nothing_of_it():
    decision = decide(evidence(production=rival()))
    opened = with_audit(decision, Audit(LABELS, alike(0.8), alike(0.7)))
    assert replace(opened, audit=None) == decision
    assert opened.audit["rows"] == 1000
    assert opened.audit["candidate_auc"]["low"] < opened.audit["candidate_auc"]["value"]
    assert opened.audit["production_auc"]["value"] < opened.audit["candidate_auc"]["value"]


def test_a_decision_goes_into_json_with_every_check():
    some = {"some": np.arange(1000) % 3 == 0}
    decided = with_audit(decide(evidence(production=rival(), anchor=rival(version=3), slices=some)),
                         Audit(LABELS, alike(0.8)))  # fmt: skip
    report = json.loads(json.dumps(decided.to_json()))
    assert {check["name"] for check in report["checks"]} == {
        "signature",
        "cohort_salt",
        "disjoint",
        "leak_alarm",
        "loads",
        "golden_rows",
        "rows",
        "each_class",
        "label_age",
        "auc_floor",
        "first_promotion",
        "not_older",
        "production_comparable",
        "not_worse",
        "calibration",
        "slices",
        "anchor_comparable",
        "not_worse_than_anchor",
        "latency",
        "online_features",
        "not_pinned",
    }
    assert report["thresholds"]["max_auc_loss"] == 0.02
    assert report["candidate"]["auc"]["low"] < report["candidate"]["auc"]["value"] < report["candidate"]["auc"]["high"]
    assert report["audit"]["production_auc"] is None


@given(
    candidate_auc=st.floats(0.3, 0.99),
    production_auc=st.none() | st.floats(0.3, 0.99),
    rows=st.integers(0, 600),
    newer=st.booleans(),
)
def test_whatever_the_figures_nothing_is_promoted_that_fails_a_check(candidate_auc, production_auc, rows, newer):
    labels = LABELS[:rows]
    production = None
    if production_auc is not None:
        as_of = JANUARY if newer else date(2024, 3, 31)
        production = replace(rival(as_of=as_of), scores=alike(production_auc, labels=labels), out_of_fold_auc=None)
    scores = alike(candidate_auc, seed=5, labels=labels)
    decision = decide(evidence(labels=labels, scores=scores, out_of_fold_auc=None, production=production))
    assert decision.outcome in (PROMOTE, KEEP)
    assert (decision.outcome == PROMOTE) == (not failed(decision))
    if production and not newer:
        assert decision.outcome == KEEP
    assert decision.reason
    json.dumps(decision.to_json())
