"""The promotion gate: does the candidate replace the version in stage Production?

The rule. The comparison must be one that can be trusted (else INVALID). With no Production, the candidate must be good
enough by itself. With one, it must also be at least as new, and at most a margin worse on the same cohort rows, which
neither has trained on. Everything else is KEEP. A backfill is safe: an older candidate is never promoted.

This module is the rule and nothing else: figures come in, a decision with every check and its reason goes out.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

PROMOTE = "PROMOTE"
KEEP = "KEEP"
INVALID = "INVALID"


@dataclass(frozen=True)
class Thresholds:
    """What a check is held against."""

    # The standard error of an AUC of 0.8 at 200 rows with 30 leavers is about 0.05: below that, nothing can be told.
    min_rows: int = 200
    min_each_class: int = 30
    # A coin has 0.5. At the 1,400 cohort rows of a 7,000-customer drop three standard errors are 0.05.
    min_auc: float = 0.55
    # Two models of equal worth differ by about 0.01 on 1,400 rows; a newer one is worth a little more than that.
    max_auc_loss: float = 0.02


@dataclass(frozen=True)
class Production:
    """The version in stage Production. `scores` are its own for the graded rows; without them `problem` says why."""

    version: int
    as_of: date
    scores: np.ndarray | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Evidence:
    """What the gate decides on.

    `labels` and `scores` are of the gate cohort's rows of `graded_on`, in one order; the candidate's scores are those
    of its recipe: where there were earlier dates, of the twin fitted without `graded_on`.
    """

    candidate: int
    as_of: date
    signature: Sequence[tuple[str, str]]
    service_signature: Sequence[tuple[str, str]]
    graded_on: date
    out_of_time: bool
    labels: np.ndarray
    scores: np.ndarray
    production: Production | None
    was_promoted: bool = False
    load_problem: str | None = None


@dataclass(frozen=True)
class Check:
    """One condition: what was found, what it is held against, and what its failure means."""

    name: str
    figure: Any
    threshold: Any
    passed: bool
    sentence: str
    failing: str = KEEP


@dataclass(frozen=True)
class Decision:
    """The outcome, its reason in words, and every check. `needs_person`: only a person can judge further."""

    outcome: str
    reason: str
    checks: tuple[Check, ...]
    candidate_auc: float | None
    production_auc: float | None
    needs_person: bool = False
    thresholds: Thresholds = field(default_factory=Thresholds)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def decide(evidence: Evidence, thresholds: Thresholds | None = None) -> Decision:
    """Return the decision on the candidate."""
    limits = thresholds or Thresholds()
    candidate_auc = _auc(evidence.labels, evidence.scores)
    production = evidence.production
    comparable = production is not None and production.scores is not None
    production_auc = _auc(evidence.labels, production.scores) if production and comparable else None
    checks = [*_validity(evidence), *_absolute(evidence, candidate_auc, limits)]
    if production is not None:
        checks += _relative(evidence, production, candidate_auc, production_auc, limits)
    failed = [check for check in checks if not check.passed]
    outcome = PROMOTE if not failed else INVALID if any(check.failing == INVALID for check in failed) else KEEP
    reason = (
        "; ".join(check.sentence for check in failed if check.failing == outcome)
        if failed
        else _praise(evidence, checks)
    )
    # With a Production that cannot be compared, a candidate that passes all else waits for a person.
    needs_person = outcome == KEEP and all(check.name == "production_comparable" for check in failed)
    return Decision(outcome, reason, tuple(checks), candidate_auc, production_auc, needs_person, limits)


def _validity(evidence: Evidence) -> list[Check]:
    same = list(evidence.signature) == list(evidence.service_signature)
    return [
        Check(
            "signature", list(evidence.signature), list(evidence.service_signature), same,
            "the model takes the features of its feature service, in their order" if same else
            f"the model's signature is not its feature service's: {_difference(evidence)}",
            failing=INVALID,
        ),
        Check(
            "loads", evidence.load_problem, None, evidence.load_problem is None,
            f"the candidate does not load: {evidence.load_problem}" if evidence.load_problem else "the candidate loads",
            failing=INVALID,
        ),
    ]  # fmt: skip


def _absolute(evidence: Evidence, auc: float | None, limits: Thresholds) -> list[Check]:
    rows, positives = len(evidence.labels), int(np.sum(evidence.labels))
    least = min(positives, rows - positives)
    where = f"the gate cohort on {evidence.graded_on}"
    return [
        Check("rows", rows, limits.min_rows, rows >= limits.min_rows,
              f"{where} has {rows} labelled rows, {limits.min_rows} are needed"),
        Check("each_class", least, limits.min_each_class, least >= limits.min_each_class,
              f"{where} has {positives} leavers and {rows - positives} others, of {limits.min_each_class} needed"),
        Check("auc_floor", auc, limits.min_auc, auc is not None and auc >= limits.min_auc,
              f"AUC {_figure(auc)} on {where}, {'out of time' if evidence.out_of_time else 'in time'}; "
              f"the floor is {limits.min_auc}"),
        Check("first_promotion", evidence.was_promoted, False, not evidence.was_promoted,
              f"version {evidence.candidate} was in Production and was taken out of it; a person may bring it back"
              if evidence.was_promoted else f"version {evidence.candidate} was never in Production"),
    ]  # fmt: skip


def _relative(
    evidence: Evidence, production: Production, auc: float | None, production_auc: float | None, limits: Thresholds
) -> list[Check]:
    checks = [
        Check("not_older", str(evidence.as_of), str(production.as_of), evidence.as_of >= production.as_of,
              f"the candidate is of {evidence.as_of}, Production (version {production.version}) of {production.as_of}"),
        Check("production_comparable", production.problem, None, production.problem is None,
              f"version {production.version} in Production cannot be compared fairly: {production.problem}"
              if production.problem else f"version {production.version} in Production was graded on the same rows"),
    ]  # fmt: skip
    if production.problem is None:
        difference = auc - production_auc if auc is not None and production_auc is not None else None
        passed = difference is not None and difference >= -limits.max_auc_loss
        sentence = (
            f"AUC {_figure(auc)} against {_figure(production_auc)} of version {production.version} in Production "
            f"on the gate cohort on {evidence.graded_on}; at most {limits.max_auc_loss} less is accepted"
        )
        checks.append(Check("not_worse", difference, -limits.max_auc_loss, passed, sentence))
    return checks


def _auc(labels: np.ndarray, scores: np.ndarray | None) -> float | None:
    if scores is None or len(np.unique(labels)) < 2:
        return None
    return float(roc_auc_score(labels, scores))


def _figure(auc: float | None) -> str:
    return "undefined" if auc is None else f"{auc:.3f}"


def _difference(evidence: Evidence) -> str:
    has, needs = set(evidence.signature), set(evidence.service_signature)
    if has == needs:
        return "the order differs"
    return f"missing {sorted(needs - has)}, unknown {sorted(has - needs)}"


def _praise(evidence: Evidence, checks: Sequence[Check]) -> str:
    if evidence.production is None:
        return f"nothing is in Production, and {next(c.sentence for c in checks if c.name == 'auc_floor')}"
    return next(check.sentence for check in checks if check.name == "not_worse")
