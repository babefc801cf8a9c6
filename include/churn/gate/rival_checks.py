"""The gate's checks of the candidate against another version: Production or the anchor."""

from dataclasses import dataclass, replace

from churn.gate.checks import UNCHANGED, Check, check, figure
from churn.gate.comparison import Comparison, Slice
from churn.gate.evidence import Evidence, Graded
from churn.gate.leaks import find_leaks
from churn.gate.thresholds import Thresholds


@dataclass(frozen=True)
class Rival:
    """The version that the candidate is compared with, and its role."""

    model: Graded
    role: str
    check: str

    def __str__(self) -> str:
        return f"version {self.model.version}, {self.role}"


def production(model: Graded) -> Rival:
    """The version in stage Production."""
    return Rival(model, "in Production", "production_comparable")


def anchor(model: Graded) -> Rival:
    """The last version that was promoted as superior, or that a person chose."""
    return Rival(model, "the anchor", "anchor_comparable")


def comparable(evidence: Evidence, rival: Rival, found: Comparison | None, limits: Thresholds) -> Check:
    """Did the rival train without the gate cohort too? Otherwise it would beat every honest candidate."""
    leaks = find_leaks(rival.model, evidence.labels, limits)
    problem = rival.model.problem or next((leak.sentence for leak in leaks if leak.found), None)
    if problem is None and found is None:
        problem = "the candidate as shipped has not scored the rows"
    sentence = f"{rival}, was graded on the same rows, whose customers it has not trained on either"
    if problem:
        sentence = f"{rival}, cannot be compared fairly: {problem}"
    # One that does not load may after make trust, or when a tag was set.
    may_pass = rival.model.problem is not None
    return check(rival.check, problem, None, problem is None, sentence, passing_away=may_pass)


def not_older(evidence: Evidence, rival: Rival) -> Check:
    """Is the candidate as new as Production? A backfill must not move serving back. A Production of a withdrawn AS_OF
    does not count."""
    ours, theirs = evidence.candidate.as_of, rival.model.as_of
    sentence = f"the candidate is of {ours}, Production (version {rival.model.version}) of {theirs}"
    if evidence.production_withdrawn:
        sentence += ", which was withdrawn and does not count"
    passed = evidence.production_withdrawn or ours >= theirs
    return check("not_older", str(ours), str(theirs), passed, sentence)


def not_worse(evidence: Evidence, rival: Rival, found: Comparison, least: float, limits: Thresholds) -> Check:
    """Is the difference of AUC shown to be above `least`?"""
    name = "not_worse" if rival.check == "production_comparable" else "not_worse_than_anchor"
    bound = found.auc.lower_bound(limits.confidence) if found.auc else None
    passed = bound is not None and bound > least
    sentence = (
        f"AUC {figure(found.ours)} against {figure(found.theirs)} of {rival}, on the gate cohort on "
        f"{evidence.graded_on}, compared {found.basis.name} ({found.basis.why}): a difference of {figure(found.auc)}, "
        f"above {_signed(bound)} with {limits.confidence:.0%} confidence, where more than {least:g} is asked"
    )
    if found.identical:
        sentence = (
            f"compared {found.basis.name} ({found.basis.why}), every score is that of {rival}: nothing is lost and "
            f"nothing won, where more than {least:g} is asked"
        )
    outcome = check(name, bound, least, passed, sentence)
    return replace(outcome, outcome=UNCHANGED) if found.identical and passed else outcome


def calibration(rival: Rival, found: Comparison, limits: Thresholds) -> Check:
    """Is the Brier score not significantly worse by more than the limit?"""
    low = found.brier.lower_bound(limits.confidence) if found.brier else None
    most = limits.max_brier_loss
    sentence = (
        f"the Brier score less that of {rival}, is {_signed(found.brier.value if found.brier else None)}, above "
        f"{_signed(low)} with {limits.confidence:.0%} confidence; up to {most:g} is accepted"
    )
    return check("calibration", low, most, low is None or low <= most, sentence)


def no_slice_harmed(slices: list[Slice], limits: Thresholds) -> Check:
    """Does the candidate harm no slice?"""
    harmed = [f"{each.name} ({_signed(each.difference.value)})" for each in slices if each.harmed and each.difference]
    tested = sum(each.p_value is not None for each in slices)
    more = f"significantly more than {limits.max_slice_auc_loss:g} (Holm's correction)"
    sentence = f"in none of {tested} slices is the loss of AUC {more}"
    if harmed:
        sentence = f"the loss of AUC is {more} in {', '.join(harmed)}"
    return check("slices", harmed, [], not harmed, sentence)


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.4f}"
