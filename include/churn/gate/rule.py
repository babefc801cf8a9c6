"""The promotion gate: does the candidate replace the version in stage Production?

The rule. The comparison must be valid (else INVALID). Without a Production, the candidate must pass the absolute
checks. With one, it must also be at least as new, and non-inferior: not worse by more than a margin on the gate cohort,
which neither has trained on, on the same basis (basis.py). It must also be non-inferior to the anchor, the last version
that was promoted as superior or chosen by a person; otherwise a chain of small losses would add up. Everything else is
KEEP. A backfill is safe: an older candidate is never promoted.

The rule is a pure function from evidence to a decision with its checks and reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from churn import statistics
from churn.gate import checks, rival_checks
from churn.gate.checks import FAIL, INVALID, KEEP, Check
from churn.gate.comparison import Comparison, Slice, compare, compare_slices, scores_on
from churn.gate.description import auc_of, describe_candidate, describe_rival, describe_slice, interval
from churn.gate.evidence import Audit, Evidence
from churn.gate.rival_checks import Rival
from churn.gate.thresholds import Thresholds
from churn.statistics import Estimate

PROMOTE = "PROMOTE"

FOR_A_PERSON = ("_comparable", "labels_not_swapped")
"""Ends of the names of checks that a person can judge."""


@dataclass(frozen=True)
class Decision:
    """The outcome, its reason in words, and every check.

    Attributes:
        candidate_auc, production_auc: AUCs on the basis of their comparison. Without one, the candidate's is
            `honest_auc`.
        honest_auc: the candidate's AUC, out of time if it has a twin; used by the absolute checks.
        against_anchor: None also if the anchor is Production.
        superior: shown to be better than Production, or the first version; such a version becomes the anchor.
        recommendation: the outcome if Production were not pinned.
        needs_person: only a person can decide.
        passing_away: a failed check is temporary; a later run of the same candidate may decide differently.
    """

    outcome: str
    reason: str
    checks: tuple[Check, ...]
    evidence: Evidence
    candidate_auc: Estimate | None
    production_auc: Estimate | None
    honest_auc: Estimate | None
    against_production: Comparison | None
    against_anchor: Comparison | None
    slices: tuple[Slice, ...]
    superior: bool = False
    recommendation: str | None = None
    needs_person: bool = False
    passing_away: bool = False
    audit: Mapping[str, Any] | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)

    def to_json(self) -> dict[str, Any]:
        """Return the report."""
        evidence, against = self.evidence, self.against_production
        return {
            **{name: getattr(self, name) for name in (
                "outcome", "reason", "recommendation", "needs_person", "superior", "passing_away", "audit"
            )},
            "as_of": str(evidence.candidate.as_of),
            "graded_on": str(evidence.graded_on),
            "out_of_time": evidence.out_of_time,
            "basis": against.basis.name if against else None,
            "production_withdrawn": evidence.production_withdrawn,
            "pinned": evidence.pinned,
            "rows": len(evidence.labels),
            "churned": int(evidence.labels.sum()),
            "candidate": describe_candidate(evidence),
            "production": describe_rival(evidence, evidence.production, against),
            "anchor": describe_rival(evidence, evidence.anchor, self.against_anchor),
            "difference": interval(against.auc if against else None),
            "brier_difference": interval(against.brier if against else None),
            "checks": [asdict(check) for check in self.checks],
            "slices": [describe_slice(each) for each in self.slices],
            "thresholds": asdict(self.thresholds),
        }  # fmt: skip


def decide(evidence: Evidence, thresholds: Thresholds | None = None) -> Decision:
    """Return the decision on the candidate."""
    limits = thresholds or Thresholds()
    production = evidence.production
    auc = auc_of(evidence, evidence.candidate.scores)
    found = [*checks.validity(evidence, limits), *checks.worth(evidence, auc, limits)]
    against, with_anchor = compare(evidence, production), compare(evidence, evidence.anchor)
    slices = compare_slices(evidence, scores_on(evidence, against.basis if against else None), production, limits)
    if production is not None:
        rival = rival_checks.production(production)
        compared = _compared(evidence, rival, against, limits)
        found += [rival_checks.not_older(evidence, rival), *compared]
        # Against a version that trained on the cohort, every slice would look harmed.
        if against is not None and compared[0].outcome != FAIL:
            found += [rival_checks.calibration(rival, against, limits), rival_checks.no_slice_harmed(slices, limits)]
    if evidence.anchor is not None:
        found += _compared(evidence, rival_checks.anchor(evidence.anchor), with_anchor, limits)
    found += checks.going_out(evidence, limits)
    failed = [check for check in found if check.outcome == FAIL]
    outcome = PROMOTE if not failed else INVALID if any(check.failing == INVALID for check in failed) else KEEP
    bound = against.auc.lower_bound(limits.confidence) if against and against.auc else 0.0
    return Decision(
        outcome=outcome,
        reason=_reason(evidence, found, failed, outcome),
        checks=tuple(found),
        evidence=evidence,
        candidate_auc=against.ours if against else auc,
        production_auc=against.theirs if against else None,
        honest_auc=auc,
        against_production=against,
        against_anchor=with_anchor,
        slices=tuple(slices),
        # Better than Production, and not worse than the anchor.
        superior=production is None or (bound > 0 and (with_anchor is None or _gains(with_anchor))),
        recommendation=PROMOTE if [check.name for check in failed] == ["not_pinned"] else None,
        # If nothing else fails, a person decides.
        needs_person=outcome == KEEP and all(check.name.endswith(FOR_A_PERSON) for check in failed),
        passing_away=any(check.passing_away for check in failed),
        thresholds=limits,
    )


def with_audit(decision: Decision, audit: Audit) -> Decision:
    """Return the decision with the audit cohort's figures. They are not judged, or candidates would be selected on that
    cohort too."""
    production = None if audit.production is None else statistics.auc(audit.labels, audit.production)
    said = {
        "basis": decision.against_production.basis.name if decision.against_production else None,
        "rows": len(audit.labels),
        "churned": int(audit.labels.sum()),
        "candidate_auc": interval(statistics.auc(audit.labels, audit.candidate)),
        "production_auc": interval(production),
    }
    return replace(decision, audit=said)


def _compared(evidence: Evidence, rival: Rival, found: Comparison | None, limits: Thresholds) -> list[Check]:
    fair = rival_checks.comparable(evidence, rival, found, limits)
    if fair.outcome == FAIL or found is None:
        return [fair]
    superior = limits.require_superior and rival.model is evidence.production
    least = 0.0 if superior else -limits.max_auc_loss
    return [fair, rival_checks.not_worse(evidence, rival, found, least, limits)]


def _gains(found: Comparison) -> bool:
    return found.auc is not None and found.auc.value >= 0


def _reason(evidence: Evidence, found: Sequence[Check], failed: Sequence[Check], outcome: str) -> str:
    if failed:
        return "; ".join(check.sentence for check in failed if check.failing == outcome)
    said = {check.name: check.sentence for check in found}
    why = said["not_worse"] if evidence.production else f"nothing is in Production, and {said['auc_floor']}"
    return f"{evidence.change}, so it learned from that date alone; {why}" if evidence.change else why
