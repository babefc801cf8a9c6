"""What one decision of the gate costs, in a process that has imported what a decision needs and nothing else."""

import signal
from dataclasses import replace

import numpy as np

from bench.gate_simulation import draw
from bench.measure import Watch
from churn.gate.rule import decide


def cost(rows: int) -> tuple[float, int]:
    """Return the seconds of one decision, on twelve slices, and the most bytes that this process held: its libraries,
    the rows, and what drawing them took."""
    random = np.random.default_rng(0)
    decide(draw(random, 1_000, 0.9))  # what is imported at the first use is not timed
    evidence = draw(random, rows, 0.9)
    first = np.arange(rows) < rows / 2
    watch = Watch()
    with watch:
        decide(replace(evidence, slices={**evidence.slices, "first half": first, "second half": ~first}))
    return watch.seconds, watch.peak_bytes


def ignore_interrupts() -> None:
    """A terminal's Ctrl-C reaches every process; the one that waits for the others ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
