"""Simulated graded rows with a known truth, and the gate's decisions on them.

Each version scores a customer with d for leavers and 0 for others, plus a normal error that correlates with those of
the other versions (the binormal model: its AUC is the normal distribution function of d / √2). Its probability of churn
follows from the score, so that every version is calibrated.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from itertools import cycle, islice

import numpy as np
from scipy.special import expit, logit, ndtri

from churn import statistics
from churn.gate.evidence import Evidence, Graded
from churn.gate.rule import PROMOTE, decide
from churn.gate.thresholds import Thresholds
from churn.statistics import Estimate
from churn.training.cohort import SALT
from churn.training.learned_from import Learned

CHURN_RATE = 0.27
AUC = 0.83
"""Both as in the real and the generated drops."""

MARGIN = Thresholds().max_auc_loss

TRAINING_ROWS = 3.75
"""Out-of-fold rows per row of the gate cohort: 75 % of customers are in neither cohort, 20 % in the gate cohort."""

TWIN_GAP = 0.045
"""The loss of AUC of a twin on a date that it did not learn from: 0.578 against 0.623 on the real drops."""

ANCHOR_CHECKS = {"anchor_comparable", "not_worse_than_anchor"}

CHAIN = 50
SLOPE = "each worse by δ/2"
SAWTOOTH = "four worse by δ/2, one better by 1.5 δ"
STEPS = {SLOPE: (-MARGIN / 2,), SAWTOOTH: (-MARGIN / 2,) * 4 + (1.5 * MARGIN,)}
"""The true AUC of a chain's candidates minus that of the current Production, repeated in order."""

SIGNATURE = (("months_active", "long"),)
JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)

# The slices of include/sql/gate.sql: each kind's share of customers, and its correlation with the risk.
SLICES = {
    "tenure": ((0.31, 0.24, 0.45), -0.4),
    "net service": ((0.22, 0.34, 0.44), 0.35),
    "billing": ((0.41, 0.59), 0.2),
    "senior": ((0.84, 0.16), 0.15),
}

AS_MANY_AT_ONCE = 50


@dataclass(frozen=True)
class Truth:
    """The true AUC of each version; without an anchor if that is Production itself.

    Attributes:
        twin_gap: how much lower the AUC of the candidate's twin is; > 0 if Production learned from the grading date.
    """

    candidate: float = AUC
    production: float = AUC
    anchor: float | None = AUC
    twin_gap: float = 0.0


EQUAL = Truth()


@dataclass(frozen=True)
class Case:
    """Decisions on candidates whose true AUC is Production's + `offset`.

    Attributes:
        rows: the rows of the gate cohort.
        pairs: the kind of pair, in words; `correlation` is that of their errors.
        correction: the candidate corrects a Production that learned from the grading date.
    """

    pairs: str
    correlation: float
    rows: int
    offset: float
    repetitions: int
    seed: int
    correction: bool = False

    @property
    def truth(self) -> Truth:
        if self.correction:
            return Truth(AUC + self.offset, anchor=None, twin_gap=TWIN_GAP)
        return Truth(AUC + self.offset)


Found = Counter[str]
"""How many decisions ended in an outcome, failed in a check, …"""


def simulate(case: Case) -> Found:
    """Return the counts of outcomes and of failed checks."""
    random = np.random.default_rng((case.seed, case.rows))
    found: Found = Counter()
    for _ in range(case.repetitions):
        evidence = draw(random, case.rows, case.correlation, case.truth)
        decision = decide(evidence)
        failed = {check.name for check in decision.checks if check.outcome == "FAIL"}
        found[decision.outcome] += 1
        found.update(f"failed {name}" for name in failed)
        found["without the anchor"] += failed <= ANCHOR_CHECKS
        if case.correction:
            found["twin"] += decide(_twin_beside_shipped(evidence)).outcome == PROMOTE
    return found


@dataclass(frozen=True)
class Chain:
    """Fifty AS_OFs in a row. Each candidate's true AUC differs from Production's by the shape's next step, and never
    exceeds that of the first Production.
    """

    shape: str
    correlation: float
    rows: int
    anchored: bool
    seed: int


def run_chain(chain: Chain) -> tuple[float, int]:
    """Return the final loss of true AUC in Production, and the number of promotions."""
    random = np.random.default_rng((chain.seed, chain.rows))
    production = anchor = AUC
    promoted, anchor_is_production = 0, True
    for step in islice(cycle(STEPS[chain.shape]), CHAIN):
        candidate = min(production + step, AUC)
        held = anchor if chain.anchored and not anchor_is_production else None
        decision = decide(draw(random, chain.rows, chain.correlation, Truth(candidate, production, held)))
        if decision.outcome == PROMOTE:
            production, promoted, anchor_is_production = candidate, promoted + 1, decision.superior
            anchor = candidate if decision.superior else anchor
    return AUC - production, promoted


def draw(random: np.random.Generator, rows: int, correlation: float, truth: Truth = EQUAL) -> Evidence:
    """Return the evidence on versions of these true AUCs that pass every other check."""
    labels = random.random(rows) < CHURN_RATE
    common = random.normal(size=rows)

    def version(number: int, as_of: date, auc: float) -> Graded:
        error = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * random.normal(size=rows)
        away = float(np.sqrt(2) * ndtri(auc))
        probabilities = expit(logit(CHURN_RATE) + away * (away * labels + error) - away**2 / 2)
        return Graded(
            number, as_of, probabilities, trained_on_cohort=0, cohort_salt=SALT,
            out_of_fold_auc=_out_of_fold(random, auc, rows),
        )  # fmt: skip

    candidate = version(3, FEBRUARY, truth.candidate - truth.twin_gap)
    production = version(2, JANUARY, truth.production)
    if truth.twin_gap:
        candidate = replace(candidate, shipped=version(3, FEBRUARY, truth.candidate).scores)
        production = replace(production, as_of=FEBRUARY, learned=Learned(frozenset({FEBRUARY}), complete=True))
    return Evidence(
        candidate=candidate,
        production=production,
        anchor=None if truth.anchor is None else version(1, JANUARY, truth.anchor),
        signature=SIGNATURE,
        service_signature=SIGNATURE,
        graded_on=FEBRUARY,
        out_of_time=True,
        labels=labels,
        train_rows=max(int(TRAINING_ROWS * rows), Thresholds().small_training_rows),
        train_churned=int(TRAINING_ROWS * rows * CHURN_RATE),
        slices=_slices(random, labels, common),
    )


def _twin_beside_shipped(evidence: Evidence) -> Evidence:
    """Return the evidence of a gate that always compares the twin with Production."""
    assert evidence.production is not None
    return replace(evidence, production=replace(evidence.production, learned=Learned(complete=True)))


def correlation_of(error: float, rows: int) -> float:
    """Return the correlation at which two versions of equal AUC have this standard error of their difference of AUC.

    Bisects on one large draw with the same random numbers.
    """
    low, high = 0.0, 1.0
    many = 100_000
    for _ in range(20):
        middle = (low + high) / 2
        drawn = draw(np.random.default_rng(0), many, middle)
        assert drawn.candidate.scores is not None
        assert drawn.production is not None
        assert drawn.production.scores is not None
        found = statistics.auc_difference(drawn.labels, drawn.candidate.scores, drawn.production.scores)
        assert found is not None
        low, high = (middle, high) if found.error * np.sqrt(many / rows) > error else (low, middle)
    return (low + high) / 2


def parts(case: Case) -> Iterator[Case]:
    """Yield the case in parts of few repetitions, so that the processes end at about the same time."""
    for begin in range(0, case.repetitions, AS_MANY_AT_ONCE):
        yield replace(case, repetitions=min(AS_MANY_AT_ONCE, case.repetitions - begin), seed=case.seed + begin)


def _out_of_fold(random: np.random.Generator, auc: float, rows: int) -> Estimate:
    # 0.45 / √rows is DeLong's standard error at this AUC and share of leavers.
    error = 0.45 / np.sqrt(TRAINING_ROWS * rows)
    return Estimate(float(random.normal(auc, error)), float(error))


def _slices(random: np.random.Generator, labels: np.ndarray, common: np.ndarray) -> dict[str, np.ndarray]:
    risk = common + np.sqrt(2) * ndtri(AUC) * (labels - CHURN_RATE)
    risk /= risk.std()
    found: dict[str, np.ndarray] = {}
    for kind, (shares, weight) in SLICES.items():
        place = weight * risk + np.sqrt(1 - weight**2) * random.normal(size=len(labels))
        band = np.searchsorted(ndtri(np.cumsum(shares)[:-1]), place)
        found |= {f"{kind} {index}": band == index for index in range(len(shares))}
    return found
