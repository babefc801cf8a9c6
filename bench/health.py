"""How well the figures of a list's outcome say what is true, by simulation: one function and one table a question."""

from bench.context import Bench
from bench.figures import Row
from bench.health_expected import expectations, turns
from bench.health_verdicts import verdicts


def run(bench: Bench) -> Row:
    """Run every simulation; --repeats replaces the number of lists per case."""
    return {"verdicts": verdicts(bench), "expected": expectations(bench), "turned": turns(bench)}
