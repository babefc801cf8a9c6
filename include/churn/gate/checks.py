"""The gate's checks of the candidate itself: validity, quality and readiness for serving.

Each check has a figure, a threshold and a sentence. Checks against another version are in rival_checks.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from churn import statistics
from churn.gate.evidence import Evidence
from churn.gate.leaks import find_leaks
from churn.gate.thresholds import Thresholds
from churn.statistics import Estimate
from churn.training.regime import SWAPPED

KEEP = "KEEP"
INVALID = "INVALID"

PASS = "PASS"
FAIL = "FAIL"
UNCHANGED = "UNCHANGED"


@dataclass(frozen=True)
class Check:
    """One condition.

    Attributes:
        outcome: PASS, FAIL, or UNCHANGED (passed, because nothing differs).
        failing: the decision if the check fails.
        passing_away: a failure is temporary: a later run of the same candidate may pass.
    """

    name: str
    figure: Any
    threshold: Any
    outcome: str
    sentence: str
    failing: str = KEEP
    passing_away: bool = False


def check(name: str, found: Any, threshold: Any, passed: bool, sentence: str, **kind: Any) -> Check:
    """Return a check with outcome PASS or FAIL."""
    return Check(name, found, threshold, PASS if passed else FAIL, sentence, **kind)


def validity(evidence: Evidence, limits: Thresholds) -> Iterator[Check]:
    """Can the comparison be trusted? A failure makes the decision INVALID."""
    has, needs = list(evidence.signature), list(evidence.service_signature)
    sentence = "the model takes the features of its feature service, in their order"
    if has != needs:
        sentence = f"the model's signature is not its feature service's: {_difference(has, needs)}"
    found, asked = ([name for name, _ in columns] for columns in (has, needs))
    yield check("signature", found, asked, has == needs, sentence, failing=INVALID)
    for leak in find_leaks(evidence.candidate, evidence.labels, limits):
        yield check(leak.name, leak.figure, leak.threshold, not leak.found, leak.sentence, failing=INVALID)
    problem, difference = evidence.loading.problem, evidence.loading.golden_difference
    sentence = f"the candidate does not load: {problem}" if problem else "the candidate loads where serving does"
    # make trust lets it be loaded.
    yield check("loads", problem, None, problem is None, sentence, failing=INVALID, passing_away=True)
    if problem is None:
        sentence = f"loaded, its scores are within {difference:.1e} of those that it was registered with"
        least = limits.max_golden_difference
        yield check("golden_rows", difference, least, difference <= least, sentence, failing=INVALID)


def worth(evidence: Evidence, auc: Estimate | None, limits: Thresholds) -> Iterator[Check]:
    """Is the candidate good enough by itself?"""
    where = f"the gate cohort on {evidence.graded_on}"
    rows, churned = len(evidence.labels), int(np.sum(evidence.labels))
    sentence = f"{where} has {rows} labelled rows, {limits.min_rows} are needed"
    yield check("rows", rows, limits.min_rows, rows >= limits.min_rows, sentence)

    least = min(churned, rows - churned)
    sentence = f"{where} has {churned} leavers and {rows - churned} others, of {limits.min_each_class} needed"
    yield check("each_class", least, limits.min_each_class, least >= limits.min_each_class, sentence)

    age = (evidence.candidate.as_of - evidence.graded_on).days
    sentence = f"the newest labels are {age} days older than the AS_OF; {limits.max_label_age_days} are allowed"
    yield check("label_age", age, limits.max_label_age_days, age <= limits.max_label_age_days, sentence)

    value = auc.value if auc else None
    in_time = "out of time" if evidence.out_of_time else "in time"
    sentence = f"AUC {figure(auc)} on {where}, {in_time}; the floor is {limits.min_auc}"
    yield check("auc_floor", value, limits.min_auc, value is not None and value >= limits.min_auc, sentence)

    if change := evidence.change:
        backwards, limit = 1 - change.forward.value, change.in_time.value - SWAPPED
        yield check("labels_not_swapped", backwards, limit, not change.swapped, str(change))

    if evidence.train_rows < limits.small_training_rows:
        chance = _chance(evidence)
        sentence = (
            f"of permuted labels, {chance:.2%} give an AUC this high; with {evidence.train_rows} training rows, fewer "
            f"than {limits.small_training_rows}, at most {limits.max_chance:.0%} may"
        )
        yield check("better_than_chance", chance, limits.max_chance, chance <= limits.max_chance, sentence)

    version, again = evidence.candidate.version, evidence.was_promoted
    sentence = f"version {version} was never in Production"
    if again:
        sentence = f"version {version} was in Production and was taken out of it; a person may bring it back"
    yield check("first_promotion", again, False, not again, sentence)


def going_out(evidence: Evidence, limits: Thresholds) -> Iterator[Check]:
    """Can it be served now? Failures are temporary; a decision under a pin holds as long as that pin."""
    latency, most = evidence.loading.latency_ms, limits.max_latency_ms
    sentence = f"one customer takes {latency:.1f} ms in serving's code path, of {most:.0f} allowed"
    yield check("latency", latency, most, latency <= most, sentence, passing_away=True)

    problem = evidence.online_problem
    sentence = "the served AS_OF has every feature of its feature service"
    if problem:
        sentence = f"the online features are not ready: {problem}"
    yield check("online_features", problem, None, problem is None, sentence, passing_away=True)

    pinned = evidence.pinned
    yield check("not_pinned", pinned, None, pinned is None, pinned or "Production is not pinned")


def figure(estimate: Estimate | None) -> str:
    """Format a figure with its 95 % interval."""
    return "undefined" if estimate is None else str(estimate)


def _difference(has: list[tuple[str, str]], needs: list[tuple[str, str]]) -> str:
    if set(has) == set(needs):
        return "the order differs"
    return f"missing {sorted(set(needs) - set(has))}, unknown {sorted(set(has) - set(needs))}"


def _chance(evidence: Evidence) -> float:
    labels, scores = evidence.labels, evidence.candidate.scores
    if scores is None or not 0 < labels.sum() < len(labels):
        return 1.0
    return statistics.chance_of_auc(labels, scores)
