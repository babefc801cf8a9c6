"""How often the gate errs, by simulated decisions on candidates with a known true AUC.

Real fits determine the correlation of the versions first. The benchmark also runs chains of slightly worse candidates,
two rules of thumb, and the task `gate` on the largest cohort.
"""

import multiprocessing
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from math import sqrt
from statistics import median
from typing import Any

from bench import gate_cost, gate_pairs
from bench.context import Bench
from bench.figures import MEGABYTE, Row, goal, goal_rows, number, percentile, significant
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
from bench.measure import measure
from bench.mlflow_server import mlflow_server
from embedded.table import table

DATABASE = "bench"
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

CHAINS = 200
CHAIN_ROWS = 1_400


def run(bench: Bench) -> Row:
    """Simulate with both kinds of pairs; --repeats sets the number of decisions and chains."""
    large = _large(bench)
    pairs = _pairs(bench)
    correlations = {kind: correlation_of(error, pairs["rows"]) for kind, error in pairs["errors"].items()}
    cases = list(_cases(correlations, pairs["naive"]["training_auc"], bench.repeats))
    chains = [
        Chain(shape, correlations[UNLIKE], CHAIN_ROWS, anchored, seed)
        for shape in STEPS
        for anchored in (True, False)
        for seed in range(bench.repeats or CHAINS)
    ]
    # Fresh processes, without this one's imports.
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), _ignore_interrupts) as pool:
        bench.say(f"{sum(case.repetitions for case in cases):,} decisions")
        jobs = [(case, part) for case in cases for part in parts(case)]
        found = pool.map(simulate, [part for _, part in jobs], chunksize=1)
        bench.say(f"{len(chains)} chains of {CHAIN} candidates")
        ends = pool.map(run_chain, chains, chunksize=1)
    result: Row = {
        "auc": AUC,
        "churn_rate": CHURN_RATE,
        "margin": MARGIN,
        "pairs": pairs,
        "correlations": {kind: round(value, 4) for kind, value in correlations.items()},
        "decisions": summarize((case, each) for (case, _), each in zip(jobs, found, strict=True)),
        "chains": [_ends(shape, anchored, chains, ends) for shape in STEPS for anchored in (True, False)],
        "large": large,
    }
    return {**result, "goals": _goals(result)}


def summarize(found: Iterable[tuple[Case, Found]]) -> list[Row]:
    """Return the shares of each case's decisions, with its parts combined."""
    together: dict[Case, Found] = defaultdict(Counter)
    for case, part in found:
        together[case].update(part)
    return [_shares(case, counts) for case, counts in together.items()]


def render(result: Row) -> str:
    """Return the result as tables for a terminal."""
    shares = ("promoted", "promoted_without_anchor", "keep", "invalid", "point_rule", "naive_rule")
    rows = [
        (each["pairs"], each["truth"], f"{each['rows']:,}", *(_percent(each[name]) for name in shares), _failed(each))
        for each in result["decisions"]
    ]
    names = ("promoted", "without anchor", "KEEP", "INVALID", "point + 0.01", "naive", "failed checks")
    ends = [
        (
            each["shape"],
            "with" if each["anchor"] else "without",
            *(number(each[name]) for name in ("median", "low", "high", "promoted")),
        )
        for each in result["chains"]
    ]
    chain = (f"{CHAIN} candidates, {CHAIN_ROWS:,} rows", "anchor", "AUC lost", "5 %", "95 %", "promoted")
    pairs, naive = result["pairs"], result["pairs"]["naive"]
    errors = ", ".join(f"{number(error)} of {kind}" for kind, error in pairs["errors"].items())
    about = (
        f"δ = {result['margin']}; standard error of the difference of AUC at {pairs['rows']:,} rows: {errors}",
        "without anchor: where the anchor is Production itself; point + 0.01: AUC on the same rows, without its error",
        f"naive: against Production on its training customers, AUC {number(naive['training_auc'])} of a random "
        f"forest that has {number(naive['auc'])} on others",
    )
    tables = (
        table(("versions of", "candidate", "rows", *names), rows),
        table(chain, ends),
        table(("goal", "is", "asked", "met"), goal_rows(result["goals"])),
    )
    return "\n\n".join(("\n".join(about), *tables))


def _large(bench: Bench) -> Row:
    """Measure the task `gate` at the largest size."""
    customers = bench.customers[-1]
    drops = bench.drops(customers, gate_cost.MONTHS)
    landing, dates = drops[0].path.parent, [drop.as_of for drop in drops]
    url = bench.server.create(DATABASE)
    with mlflow_server(landing.parent / "mlflow") as tracking:
        bench.say(f"training two versions on {customers:,} customers")
        prepared = measure(bench.server, DATABASE, None, gate_cost.prepare, url, tracking, landing, dates).result
        found = measure(bench.server, DATABASE, None, gate_cost.grade_candidate, url, tracking, prepared)
    bench.server.drop(DATABASE)
    bench.forget_drops(drops)
    assert found.seconds is not None
    assert found.peak_bytes is not None
    bench.say(f"the task gate on {found.result['cohort_rows']:,} rows: {number(found.seconds)} s")
    return {
        "customers": customers,
        "rows": found.result["cohort_rows"],
        "outcome": found.result["decision"],
        "recipe": found.result["recipe"],
        "seconds": significant(found.seconds),
        "peak_mb": round(found.peak_bytes / MEGABYTE),
    }


def _pairs(bench: Bench) -> Row:
    drops = bench.drops(bench.customers[0], gate_pairs.MONTHS)
    url = bench.server.create(DATABASE)
    landing, dates = drops[0].path.parent, [drop.as_of for drop in drops]
    bench.say("fitting pairs of versions")
    pairs: Row = measure(bench.server, DATABASE, None, gate_pairs.study, url, landing, dates).result
    bench.server.drop(DATABASE)
    bench.forget_drops(drops)
    return pairs


def _cases(correlations: Mapping[str, float], training_auc: float, repeats: int | None) -> Iterator[Case]:
    for kind, (sizes, truths) in GRID.items():
        for index, (truth, rows) in enumerate((truth, rows) for truth in truths for rows in sizes):
            repetitions = repeats or REPETITIONS[rows]
            # More apart than the repetitions of a case, whose parts continue from here.
            correlation = correlations[ALIKE if kind == CORRECTION else kind]
            yield Case(
                kind, correlation, rows, OFFSETS[truth], repetitions, training_auc, index * 10_000, kind == CORRECTION
            )


def _shares(case: Case, found: Found) -> Row:
    def share(name: str) -> float:
        return round(found[name] / case.repetitions, 4)

    failed = {name.removeprefix("failed "): share(name) for name in found if name.startswith("failed ")}
    return {
        "pairs": case.pairs,
        "truth": next(truth for truth, offset in OFFSETS.items() if offset == case.offset),
        "rows": case.rows,
        "repetitions": case.repetitions,
        "promoted": share("PROMOTE"),
        "promoted_without_anchor": share("without the anchor"),
        **({"promoted_by_twin": share("twin")} if case.correction else {}),
        "keep": share("KEEP"),
        "invalid": share("INVALID"),
        "failed": dict(sorted(failed.items(), key=lambda each: (-each[1], each[0]))),
        "point_rule": share("point"),
        "naive_rule": share("naive"),
    }


def _ends(shape: str, anchored: bool, chains: list[Chain], ends: list[tuple[float, int]]) -> Row:
    of = (shape, anchored)
    ours = [end for chain, end in zip(chains, ends, strict=True) if (chain.shape, chain.anchored) == of]
    lost = [each for each, _ in ours]
    return {
        "shape": shape,
        "anchor": anchored,
        "rows": CHAIN_ROWS,
        "chains": len(ours),
        "median": significant(median(lost)),
        "low": significant(percentile(lost, 0.05)),
        "high": significant(percentile(lost, 0.95)),
        "promoted": median(promoted for _, promoted in ours),
    }


def _goals(result: Row) -> list[Row]:
    goals = []
    for each in result["decisions"]:
        if (each["pairs"], each["truth"]) == (CORRECTION, EQUAL):
            what = f"share promoted, a correction that changes nothing, {each['rows']:,} rows"
            goals.append(goal(what, each["promoted"], least=0.95))
        if each["truth"] == WORSE:
            # The upper 97.5 % quantile for a true rate of 5 %.
            most = round(0.05 + 2 * sqrt(0.05 * 0.95 / each["repetitions"]), 4)
            # The anchor can only prevent promotions, so most are promoted where it is Production itself.
            what = f"share promoted, worse by δ, {each['pairs']}, {each['rows']:,} rows"
            goals.append(goal(what, each["promoted_without_anchor"], most=most))
    large = result["large"]
    goals.append(goal(f"s of the task gate on {large['rows']:,} cohort rows", large["seconds"], most=10))
    goals.append(goal(f"MB of the task gate on {large['rows']:,} cohort rows", large["peak_mb"], most=500))
    return goals


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _failed(each: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_percent(share)}" for name, share in each["failed"].items())


def _ignore_interrupts() -> None:
    """Ignore Ctrl-C, which reaches every process; the parent ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
