"""Seconds and memory of each step from a drop to a training set: naive, ours and the limit, by customers."""

from collections.abc import Callable, Mapping
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from bench import limit, naive, naive_feast, ours
from bench.comparison import LOAD, NAIVE_UP_TO, SIDES, SNAPSHOT, STEPS, TRAINING_SET, compare, render
from bench.context import Bench, BenchError
from bench.figures import Row, Sample, number
from bench.measure import Measured, measure
from churn.drops.landing import Drop

DATABASE = "bench"

Samples = Mapping[tuple[str, str], Sample]
Where = tuple[str, Path, date]
"""The arguments of every step after `watch`: the database, the landing directory, and the AS_OF."""

FUNCTIONS: Mapping[str, tuple[Callable[..., Any], ...]] = {
    "naive": (naive.load, naive.snapshot, naive_feast.materialize, naive_feast.training_set),
    "ours": (ours.load_and_validate, ours.snapshot, ours.materialize_online, ours.training_set),
    "limit": (limit.load, limit.snapshot, limit.materialize, limit.training_set),
}


# Modules that Feast imports at first use; importing is not measured.
for _module in ("passthrough_provider", "registry.sql", "online_stores.helpers", "compute_engines.local.compute"):
    import_module(f"feast.infra.{_module}")
import_module("feast.repo_operations")


def run(bench: Bench) -> Row:
    """Measure every size; each repetition starts with an empty database.

    Raises:
        BenchError: the naive training set differs from ours, so that the times cannot be compared.
    """
    measurements: list[Row] = []
    for customers in bench.customers:
        drops = bench.drops(customers, 1)
        samples = {(side, step): Sample() for side in SIDES for step in STEPS}
        for repetition in range(1, bench.repeats_of(customers) + 1):
            bench.say(f"{customers:,} customers, repetition {repetition} of {bench.repeats_of(customers)}")
            # A step that exceeded its time limit once is not repeated.
            goes_on = all(samples["naive", step].over is None for step in STEPS)
            expected = _run_side(bench, "naive", samples, drops) if customers <= NAIVE_UP_TO and goes_on else None
            digest = _run_side(bench, "ours", samples, drops)
            if expected not in {None, digest}:
                raise BenchError(f"{customers:,} customers: the naive training set differs from ours")
        bench.forget_drops(drops)
        measurements += [
            {"customers": customers, "side": side, "step": step, **sample.to_json()}
            for (side, step), sample in samples.items()
            if sample.seconds or sample.over
        ]
    return {"measurements": measurements, "time_limit": bench.time_limit, **compare(measurements)}


def _run_side(bench: Bench, side: str, samples: Samples, drops: list[Drop]) -> str | None:
    """Run the steps of naive, or of ours and then the limits; return the digest of the training set, if any."""
    url = bench.server.create(DATABASE)
    where = (url, drops[0].path.parent, drops[0].as_of)
    measure(bench.server, DATABASE, None, naive_feast.prepare if side == "naive" else ours.prepare, url)
    digest = None
    for step in STEPS:
        if (side, step) == ("naive", TRAINING_SET):
            measure(bench.server, DATABASE, None, naive_feast.analyze, url)
        measured = _run_step(bench, side, step, samples, where)
        if measured.seconds is None and step in {LOAD, SNAPSHOT}:
            break  # later steps need its result
        digest = measured.result if step == TRAINING_SET else None
    if side == "ours":
        for step in STEPS:
            _run_step(bench, "limit", step, samples, where)
    bench.server.drop(DATABASE)
    return digest


def _run_step(bench: Bench, side: str, step: str, samples: Samples, where: Where) -> Measured:
    limit_seconds = bench.time_limit if side == "naive" else None
    function = FUNCTIONS[side][STEPS.index(step)]
    measured = measure(bench.server, DATABASE, limit_seconds, function, *where)
    sample = samples[side, step]
    if measured.seconds is None:
        sample.over = bench.time_limit
        bench.say(f"  {side:5}  {step:15}  given up after {number(bench.time_limit)} s")
    else:
        sample.add(measured.seconds, measured.peak_bytes, measured.server_bytes)
        bench.say(f"  {side:5}  {step:15}  {number(measured.seconds)} s")
    return measured


__all__ = ["render", "run"]
