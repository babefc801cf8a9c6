"""How often the gate errs: simulated decisions on candidates with a known true AUC, and chains of worse candidates."""

import multiprocessing
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from statistics import median

import numpy as np

from bench.context import Bench
from bench.figures import Row, significant
from bench.gate_simulation import (
    AUC,
    CHAIN,
    CHURN_RATE,
    MARGIN,
    STEPS,
    Case,
    Chain,
    Found,
    correlation_of,
    parts,
    run_chain,
    simulate,
)

EQUAL, WORSE = "equal", "worse by δ"
OFFSETS = {EQUAL: 0.0, WORSE: -MARGIN, "worse by 2 δ": -2 * MARGIN, "better by δ": MARGIN}
REPETITIONS = {500: 2_000, 1_400: 2_000, 5_000: 2_000, 20_000: 500}
ALIKE, UNLIKE, CORRECTION = "one recipe", "two families", "a correction"
GRID = {
    UNLIKE: (tuple(REPETITIONS), tuple(OFFSETS)),
    ALIKE: ((500, 1_400), (EQUAL, WORSE)),
    CORRECTION: ((500, 1_400, 5_000), (EQUAL, WORSE)),
}
"""Versions of one recipe are so alike that more rows show nothing new. A correction has the same recipe, and Production
learned from the grading date."""

ROWS = 1_400
"""The gate cohort of a drop of 7,000 customers."""

ERRORS = {UNLIKE: 0.00511, ALIKE: 0.00144}
"""The standard error of the difference of AUC on ROWS: the largest of all pairs of families, fitted on six generated
months and graded on the seventh. The card of a decision shows the interval of its own versions."""

CHAINS = 200


def run(bench: Bench) -> Row:
    """Simulate with both kinds of pairs; --repeats sets the number of decisions and chains."""
    correlations = {kind: correlation_of(error, ROWS) for kind, error in ERRORS.items()}
    cases = list(_cases(correlations, bench.repeats))
    chains = [
        Chain(shape, correlations[UNLIKE], ROWS, anchored, seed)
        for shape in STEPS
        for anchored in (True, False)
        for seed in range(bench.repeats or CHAINS)
    ]
    # Fresh processes, without this one's imports. Ctrl-C reaches every process; this one ends its children.
    spawned = multiprocessing.get_context("spawn")
    with spawned.Pool(os.cpu_count(), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        bench.say(f"{sum(case.repetitions for case in cases):,} decisions")
        jobs = [(case, part) for case in cases for part in parts(case)]
        found = pool.map(simulate, [part for _, part in jobs], chunksize=1)
        bench.say(f"{len(chains)} chains of {CHAIN} candidates")
        ends = pool.map(run_chain, chains, chunksize=1)
    return {
        "AUC of Production": AUC,
        "churn rate": CHURN_RATE,
        "δ": MARGIN,
        "decisions": summarize((case, each) for (case, _), each in zip(jobs, found, strict=True)),
        "chains": [_ends(shape, anchored, chains, ends) for shape in STEPS for anchored in (True, False)],
    }


def summarize(found: Iterable[tuple[Case, Found]]) -> list[Row]:
    """Return the shares of each case's decisions, with its parts combined."""
    together: dict[Case, Found] = defaultdict(Counter)
    for case, part in found:
        together[case].update(part)
    return [_shares(case, counts) for case, counts in together.items()]


def _cases(correlations: dict[str, float], repeats: int | None) -> Iterator[Case]:
    for kind, (sizes, truths) in GRID.items():
        correlation = correlations[ALIKE if kind == CORRECTION else kind]
        for index, (truth, rows) in enumerate((truth, rows) for truth in truths for rows in sizes):
            repetitions = repeats or REPETITIONS[rows]
            # More apart than the repetitions of a case, whose parts continue from here.
            yield Case(kind, correlation, rows, OFFSETS[truth], repetitions, index * 10_000, kind == CORRECTION)


def _shares(case: Case, found: Found) -> Row:
    def share(name: str) -> float:
        return round(found[name] / case.repetitions, 4)

    failed = [(share(name), name.removeprefix("failed ")) for name in found if name.startswith("failed ")]
    return {
        "versions of": case.pairs,
        "candidate": next(truth for truth, offset in OFFSETS.items() if offset == case.offset),
        "rows": case.rows,
        "repetitions": case.repetitions,
        "promoted": share("PROMOTE"),
        # Where the anchor is Production itself.
        "without the anchor": share("without the anchor"),
        "by the twin": share("twin") if case.correction else None,
        "KEEP": share("KEEP"),
        "INVALID": share("INVALID"),
        "failed checks": ", ".join(f"{name} {each:.1%}" for each, name in sorted(failed, reverse=True)),
    }


def _ends(shape: str, anchored: bool, chains: list[Chain], ends: list[tuple[float, int]]) -> Row:
    ours = [end for chain, end in zip(chains, ends, strict=True) if (chain.shape, chain.anchored) == (shape, anchored)]
    lost = [each for each, _ in ours]
    low, high = np.percentile(lost, (5, 95), method="inverted_cdf")
    return {
        "50 candidates": shape,
        "anchor": "with" if anchored else "without",
        "rows": ROWS,
        "chains": len(ours),
        "AUC lost": significant(median(lost)),
        "5 %": significant(low),
        "95 %": significant(high),
        "promoted": median(promoted for _, promoted in ours),
    }
