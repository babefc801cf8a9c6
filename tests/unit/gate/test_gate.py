"""The gate's rule on fabricated figures."""

import json
import re
from dataclasses import asdict, replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from churn.gate.basis import (
    AS_SHIPPED,
    OUT_OF_TIME,
    Origin,
    basis_against,
    difference_of_origin,
    out_of_fold_origin,
)
from churn.gate.checks import INVALID, KEEP
from churn.gate.evidence import Audit, Evidence, Graded, Loading
from churn.gate.rule import PROMOTE, decide, with_audit
from churn.gate.thresholds import ThresholdError, Thresholds
from churn.statistics import Estimate
from churn.training.cohort import SALT
from churn.training.learned_from import LEARNED_FROM, Learned, learned_of, to_tag
from churn.training.regime import Judged
from tests.conftest import REPOSITORY

SIGNATURE = [("months_active", "long"), ("monthly_fee", "double")]
JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)


LABELS = np.arange(1000) % 4 == 0
BASE = np.random.default_rng(9).normal(size=1000)


def alike(auc: float, noise: float = 0.05, seed: int = 3, labels: np.ndarray = LABELS) -> np.ndarray:
    """Scores of about this AUC, whose errors correlate with those of the other models made here."""
    own = np.random.default_rng(seed).normal(size=len(labels))
    signal = np.sqrt(2) * ndtri(auc) * labels
    return 1 / (1 + np.exp(-(signal + BASE[: len(labels)] + noise * own)))


def evidence(**changes) -> Evidence:
    """A candidate of February with AUC 0.80, nothing in Production."""
    own = {"scores", "shipped", "as_of", "trained_on_cohort", "out_of_fold_auc", "out_of_fold_differs"}
    model = {name: changes.pop(name) for name in own & changes.keys()}
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
    """A version of that AUC that was not trained on the cohort."""
    honest = {
        "trained_on_cohort": 0,
        "cohort_salt": SALT,
        "out_of_fold_auc": Estimate(auc, 0.01),
        "learned": Learned(frozenset({as_of}), complete=True),
    }
    return Graded(version, as_of, alike(auc, seed=4), **(honest | changes))


def of_february(auc: float = 0.80, **changes) -> Graded:
    """A version that learned from the grading date."""
    return rival(auc, FEBRUARY, **changes)


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
    """The AUC is equal, but the interval reaches beyond the margin."""
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


def test_with_required_superiority_an_equal_candidate_is_kept_back():
    asked = Thresholds(require_superior=True)
    assert failed(decide(evidence(production=rival()), asked)) == ["not_worse"]
    assert decide(evidence(scores=alike(0.84), production=rival()), asked).outcome == PROMOTE


def test_a_candidate_far_below_the_anchor_is_kept_back_though_it_is_as_good_as_production():
    decision = decide(evidence(scores=alike(0.77), production=rival(0.77), anchor=rival(0.81, version=3)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["not_worse_than_anchor"])
    assert "version 3, the anchor" in decision.reason


def test_superiority_is_required_against_production_only():
    asked = Thresholds(require_superior=True)
    found = decide(evidence(scores=alike(0.84), production=rival(0.80), anchor=rival(0.84, version=3)), asked)
    assert found.outcome == PROMOTE


def test_an_older_candidate_is_never_promoted_however_good():
    decision = decide(evidence(as_of=JANUARY, graded_on=JANUARY, production=rival(0.60, FEBRUARY)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["not_older"])
    assert "2024-01-31" in decision.reason
    assert "2024-02-29" in decision.reason


def test_a_candidate_of_the_same_as_of_may_replace_production():
    assert decide(evidence(shipped=alike(0.80), production=of_february())).outcome == PROMOTE


def test_a_production_of_a_withdrawn_as_of_does_not_count_for_older():
    older = {"as_of": JANUARY, "graded_on": JANUARY, "production": rival(0.60, FEBRUARY)}
    decision = decide(evidence(**older, production_withdrawn=True))
    assert decision.outcome == PROMOTE
    check = next(check for check in decision.checks if check.name == "not_older")
    assert "2024-02-29, which was withdrawn and does not count" in check.sentence


# --- like with like ----------------------------------------------------------------------------------------------


def test_a_production_trained_on_the_grading_date_is_compared_with_the_candidate_as_shipped():
    """The twin, which did not learn from that date, would lose against the same recipe."""
    corrected = evidence(scores=alike(0.70), shipped=alike(0.80), out_of_fold_auc=None, production=of_february())
    decision = decide(corrected)
    assert (decision.outcome, decision.against_production.basis.name) == (PROMOTE, AS_SHIPPED)
    assert "compared as shipped (both learned from 2024-02-29)" in decision.reason


def test_a_production_not_trained_on_the_grading_date_is_compared_with_the_twin():
    decision = decide(evidence(scores=alike(0.77), shipped=alike(0.90), production=rival(0.80)))
    assert (decision.outcome, decision.against_production.basis.name) == (KEEP, OUT_OF_TIME)
    assert failed(decision) == ["not_worse"]


def test_a_candidate_that_is_worse_as_shipped_is_kept_back_though_its_twin_is_better():
    decision = decide(evidence(scores=alike(0.90), shipped=alike(0.77), out_of_fold_auc=None, production=of_february()))
    assert (decision.outcome, failed(decision)) == (KEEP, ["not_worse"])


def test_with_unknown_training_dates_of_production_the_candidate_gets_no_advantage():
    unknown = rival(0.80, learned=Learned())
    decision = decide(evidence(scores=alike(0.77), shipped=alike(0.90), production=unknown))
    assert (decision.outcome, failed(decision)) == (KEEP, ["not_worse"])
    assert "it is not known whether the other learned from 2024-02-29: taken as if not" in decision.reason


def test_production_and_anchor_are_each_compared_on_their_own_basis():
    decision = decide(
        evidence(
            scores=alike(0.70),
            shipped=alike(0.80),
            out_of_fold_auc=None,
            production=of_february(0.80),
            anchor=rival(0.70, version=3),
        )
    )
    assert decision.outcome == PROMOTE, decision.reason
    report = decision.to_json()
    assert (report["production"]["basis"], report["anchor"]["basis"]) == (AS_SHIPPED, OUT_OF_TIME)


def test_the_compared_figures_share_a_basis_and_the_floor_applies_to_the_out_of_time_one():
    decision = decide(evidence(scores=alike(0.52), shipped=alike(0.80), out_of_fold_auc=None, production=of_february()))
    assert failed(decision) == ["auc_floor"]
    assert decision.candidate_auc.value == pytest.approx(decision.production_auc.value, abs=0.02)
    report = decision.to_json()
    assert report["candidate"]["auc"]["value"] == decision.honest_auc.value < 0.55
    assert report["production"]["candidate_auc"] == report["candidate"]["shipped_auc"]


def test_slices_and_calibration_are_judged_on_the_basis_of_the_comparison():
    some = np.arange(1000) % 3 == 0
    theirs = of_february()
    twin = np.where(some, alike(0.55, noise=0.1, seed=11), theirs.scores**0.25)
    compared = evidence(
        scores=twin, shipped=theirs.scores, out_of_fold_auc=None, production=theirs, slices={"some": some}
    )
    assert {"calibration", "slices"} & set(failed(decide(compared))) == set()


def test_with_one_date_the_candidate_itself_is_compared_as_shipped():
    decision = decide(evidence(out_of_time=False, production=of_february()))
    assert (decision.outcome, decision.against_production.basis.name) == (PROMOTE, AS_SHIPPED)


def test_a_candidate_that_was_not_scored_as_shipped_is_not_compared():
    decision = decide(evidence(production=of_february()))
    assert (decision.outcome, failed(decision)) == (KEEP, ["production_comparable"])


@pytest.mark.parametrize(
    ("tags", "dates", "expected"),
    [
        ({LEARNED_FROM: to_tag([FEBRUARY, JANUARY])}, None, (True, True)),
        ({LEARNED_FROM: to_tag([FEBRUARY])}, None, (False, True)),
        # From before the tag: the newest date is known, the others where every drop was one.
        ({"graded_on": "2024-02-29", "drops": '{"2024-01-31": "a", "2024-02-29": "b"}'}, 2, (True, True)),
        ({"graded_on": "2024-02-29", "drops": '{"2024-01-31": "a", "2024-02-29": "b"}'}, 1, (None, True)),
        ({"graded_on": "2024-01-31", "drops": '{"2024-01-31": "a", "2024-02-29": "b"}'}, 1, (True, False)),
        ({"graded_on": "2024-01-31"}, None, (True, False)),
        ({"graded_on": "31.01.2024"}, None, (None, None)),
        ({LEARNED_FROM: "January"}, None, (None, None)),
        ({}, None, (None, None)),
    ],
)
def test_what_a_version_learned_from_is_in_its_tag_or_follows_from_its_drops(tags, dates, expected):
    learned = learned_of(tags, dates)
    assert (learned.has(JANUARY), learned.has(FEBRUARY)) == expected


@given(dates=st.sets(st.dates(), min_size=1), day=st.dates(), out_of_time=st.booleans())
def test_as_shipped_is_the_basis_exactly_where_both_learned_from_the_label_period_of_the_date(dates, day, out_of_time):
    found = basis_against(Learned(frozenset(dates), complete=True), day, out_of_time=out_of_time)
    overlaps = any(abs((day - each).days) < 28 for each in dates)
    assert (found.name == AS_SHIPPED) == (overlaps or not out_of_time)


# --- the leak alarm ----------------------------------------------------------------------------------------------

TURNED = {"out_of_fold_auc": Estimate(0.563, 0.01), "out_of_fold_differs": "its out-of-fold AUC is of 2024-01-31"}


def test_the_leak_alarm_ignores_a_candidates_out_of_fold_figure_of_other_dates():
    decision = decide(evidence(**TURNED))
    check = next(check for check in decision.checks if check.name == "leak_alarm")
    assert (decision.outcome, check.outcome) == (PROMOTE, "PASS")
    assert check.sentence == "not judged: its out-of-fold AUC is of 2024-01-31"


@pytest.mark.parametrize("role", ["production", "anchor"])
def test_the_leak_alarm_ignores_a_versions_out_of_fold_figure_of_other_dates(role):
    compared = {"production": rival(), "anchor": rival(version=3)}
    compared[role] = replace(compared[role], **TURNED)
    assert decide(evidence(**compared)).outcome == PROMOTE


JANUARYS = '{"2024-01-31": "a"}'


@pytest.mark.parametrize(
    ("tags", "dates", "cohort", "says"),
    [
        # A candidate on its own rows.
        ({"graded_on": "2024-01-31", "drops": JANUARYS}, [JANUARY], Origin(JANUARY, False, {JANUARY: "a"}), None),
        (
            {"graded_on": "2024-02-29", "graded_out_of_time": "True", "drops": '{"2024-02-29": "b"}'},
            [JANUARY, FEBRUARY],
            Origin(FEBRUARY, True, {FEBRUARY: "b"}),
            None,
        ),
        (
            {"graded_on": "2024-02-29", "graded_out_of_time": "False"},
            [JANUARY, FEBRUARY],
            Origin(FEBRUARY, False),
            "several dates",
        ),
        # A version as shipped, on the rows of another candidate.
        ({"graded_on": "2024-01-31"}, [JANUARY], Origin(FEBRUARY, False), "of 2024-01-31, not of 2024-02-29"),
        (
            {"graded_on": "2024-02-29", "graded_out_of_time": "True"},
            [JANUARY, FEBRUARY],
            Origin(FEBRUARY, False),
            "models that had not learned from 2024-02-29",
        ),
        (
            {"graded_on": "2024-01-31", "drops": JANUARYS},
            [JANUARY],
            Origin(JANUARY, False, {JANUARY: "corrected"}),
            "changed since",
        ),
        (
            {"graded_on": "2024-01-31", "drops": JANUARYS},
            [JANUARY],
            Origin(JANUARY, False, {JANUARY: "a", FEBRUARY: "labels of January"}),
            "changed since",
        ),
        ({}, [], Origin(JANUARY, False), "not known"),
    ],
)
def test_the_leak_alarm_compares_figures_of_the_same_date_and_basis_only(tags, dates, cohort, says):
    found = difference_of_origin(out_of_fold_origin(tags, Learned(frozenset(dates), complete=True)), cohort)
    assert found is None if says is None else says in found


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


def test_labels_that_are_too_old_are_not_enough_evidence():
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
def test_a_candidate_that_loads_differently_in_serving_is_invalid(loading, check):
    decision = decide(evidence(loading=loading))
    assert (decision.outcome, failed(decision)) == (INVALID, [check])


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"loading": Loading(None, 0.0, 250.0)}, "latency"),
        ({"online_problem": "nothing is served"}, "online_features"),
    ],
)
def test_a_transient_failure_is_kept_and_marked_as_passing(changes, check):
    decision = decide(evidence(**changes))
    assert (decision.outcome, failed(decision), decision.passing_away) == (KEEP, [check], True)


def test_a_decision_under_a_pin_holds_as_long_as_the_pin_and_records_it():
    decision = decide(evidence(pinned="pinned by ada"))
    assert (failed(decision), decision.passing_away) == (["not_pinned"], False)
    assert decision.to_json()["pinned"] == "pinned by ada"


def test_a_pinned_production_turns_a_promotion_into_a_recommendation():
    assert decide(evidence(pinned="pinned by ada")).recommendation == PROMOTE
    assert decide(evidence(pinned="pinned by ada", scores=alike(0.5), out_of_fold_auc=None)).recommendation is None
    assert decide(evidence()).recommendation is None


def test_invalid_outweighs_every_other_failure():
    decision = decide(evidence(loading=Loading(problem="gone"), production=rival(0.9, date(2024, 3, 31))))
    assert decision.outcome == INVALID
    assert decision.reason == "the candidate does not load: gone"


def test_a_replaced_production_is_not_promoted_again():
    decision = decide(evidence(was_promoted=True, production=rival(0.60)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["first_promotion"])


def test_miscalibrated_probabilities_are_kept_back_despite_equal_ranking():
    honest = rival()
    lying = decide(evidence(scores=honest.scores**0.25, production=honest))
    assert failed(lying) == ["calibration"]
    assert lying.against_production.auc.value == 0


def test_a_harmed_slice_blocks_and_a_chance_difference_does_not():
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


def test_a_candidate_of_a_small_training_set_must_beat_chance():
    random = np.random.default_rng(6)
    guess = random.random(1000)
    limits = Thresholds(min_auc=0.4)
    assert failed(decide(evidence(scores=guess, out_of_fold_auc=None, train_rows=500), limits)) == [
        "better_than_chance"
    ]
    assert failed(decide(evidence(train_rows=500), limits)) == []
    assert "better_than_chance" not in {check.name for check in decide(evidence()).checks}


def test_every_threshold_can_be_overridden():
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
def test_an_invalid_override_is_refused_with_the_valid_range(values, says):
    with pytest.raises(ThresholdError, match=says):
        Thresholds().override(values)


def test_the_audit_cohort_does_not_change_the_decision():
    decision = decide(evidence(production=rival()))
    opened = with_audit(decision, Audit(LABELS, alike(0.8), alike(0.7)))
    assert replace(opened, audit=None) == decision
    assert opened.audit["rows"] == 1000
    assert opened.audit["candidate_auc"]["low"] < opened.audit["candidate_auc"]["value"]
    assert opened.audit["production_auc"]["value"] < opened.audit["candidate_auc"]["value"]


def test_a_decision_is_json_with_every_check():
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


def test_the_manual_lists_every_check_in_its_order_and_every_threshold():
    decided = decide(evidence(train_rows=500, production=rival(), anchor=rival(version=3), change=changed(0.48)))
    manual = (REPOSITORY / "docs" / "gate.md").read_text(encoding="utf-8")
    _, checks = manual.split("\n## The checks\n")
    table = "\n".join(re.findall(r"^\| `\w+` \| .*$", checks.partition("\n## ")[0], re.MULTILINE))
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [check.name for check in decided.checks]
    named = re.findall(r"`(\w+)` \(?(off|\d[\d,]*(?:\.\d+)?(?:e-\d+)?)", table)
    told = {name: 0 if value == "off" else float(value.replace(",", "")) for name, value in named}
    assert told == asdict(Thresholds())


@given(
    candidate_auc=st.floats(0.3, 0.99),
    production_auc=st.none() | st.floats(0.3, 0.99),
    rows=st.integers(0, 600),
    newer=st.booleans(),
    learned=st.booleans(),
)
def test_no_candidate_that_fails_a_check_is_promoted(candidate_auc, production_auc, rows, newer, learned):
    labels = LABELS[:rows]
    production = None
    if production_auc is not None:
        as_of = JANUARY if newer else date(2024, 3, 31)
        production = replace(
            rival(as_of=as_of),
            scores=alike(production_auc, labels=labels),
            out_of_fold_auc=None,
            learned=Learned(frozenset({FEBRUARY} if learned else {as_of}), complete=True),
        )
    scores, shipped = (alike(candidate_auc, seed=seed, labels=labels) for seed in (5, 6))
    decision = decide(
        evidence(labels=labels, scores=scores, shipped=shipped, out_of_fold_auc=None, production=production)
    )
    assert decision.outcome in (PROMOTE, KEEP)
    assert (decision.outcome == PROMOTE) == (not failed(decision))
    if production and not newer:
        assert decision.outcome == KEEP
    assert decision.reason
    json.dumps(decision.to_json())


def changed(forward: float) -> Judged:
    return Judged(FEBRUARY, Estimate(forward, 0.01), Estimate(0.80, 0.01), Estimate(0.80 - forward, 0.01))


def test_after_a_regime_change_a_candidate_is_promoted_and_the_reason_says_so():
    decision = decide(evidence(out_of_time=False, change=changed(0.48), production=rival(0.50)))
    assert decision.outcome == PROMOTE
    assert decision.reason.startswith("the dates before say nothing about 2024-02-29")


def test_where_labels_look_swapped_a_person_decides():
    decision = decide(evidence(out_of_time=False, change=changed(0.20), production=rival(0.50)))
    assert (decision.outcome, failed(decision)) == (KEEP, ["labels_not_swapped"])
    assert decision.needs_person
    assert "True and False look swapped" in decision.reason
