"""The verdict on a version: does its realized AUC keep what training promised?

`worse than promised` and `no better than chance` raise an alarm. Only one row for each version and date decides; the
others are shown beside it (docs/outcomes.md).
"""

from dataclasses import dataclass
from math import hypot

from churn.gate.thresholds import Thresholds
from churn.outcomes.standing import AS_PROMISED, CHANCE, TOO_FEW, WORSE
from churn.statistics import FLOOR, Estimate

MIN_ROWS, MIN_EACH_CLASS = Thresholds.min_rows, Thresholds.min_each_class
"""As in the gate: with fewer, the interval of an AUC is too wide to say anything."""

CONFIDENCE = 0.999
"""One-sided, that a version is worse than promised. Each new date is another chance of a false alarm: at 0.1 % that is
one in 80 years of monthly labels. The comparison is stricter than this, as both figures are of the same cohort."""


@dataclass(frozen=True)
class Verdict:
    """One of the four words, and the reason with the figures."""

    word: str
    reason: str

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}"


def enough(rows: int, churned: int) -> bool:
    """Tell whether so many rows, so many of them leavers, give a verdict."""
    return rows >= MIN_ROWS and min(churned, rows - churned) >= MIN_EACH_CLASS


def judge(realized: Estimate | None, rows: int, churned: int, promised: Estimate | None) -> Verdict:
    """Judge a realized AUC.

    Args:
        realized: AUC on rows that the version had not learned from, None where it is undefined.
        rows: the number of these rows.
        churned: how many of them churned.
        promised: AUC on the gate cohort at training; None of a version registered by hand.
    """
    if realized is None or not enough(rows, churned):
        needed = f"a verdict needs {MIN_ROWS}, and {MIN_EACH_CLASS} of each class"
        return Verdict(TOO_FEW, f"{rows} rows with {churned} leavers: {needed}")
    if realized.interval()[1] < FLOOR:
        return Verdict(CHANCE, f"AUC {realized}: its upper bound is below {FLOOR:.2f}")
    if promised is None:
        return Verdict(AS_PROMISED, f"AUC {realized}; nothing was promised: the version was registered by hand")
    loss = Estimate(promised.value - realized.value, hypot(promised.error, realized.error))
    against = f"AUC {realized}, promised {promised}"
    if loss.lower_bound(CONFIDENCE) > 0:
        return Verdict(WORSE, f"{against}: worse by {loss.value:.3f}, which is not chance")
    return Verdict(AS_PROMISED, against)
