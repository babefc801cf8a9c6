"""The context of every benchmark: the server, sizes, repetitions and drops."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Watch, measure
from bench.server import Server
from churn.drops.landing import Drop, list_drops
from churn.synthetic.generate import write_drops

SEED = 1
REPEATED_UP_TO = 100_000
REPEATS = 3


class BenchError(RuntimeError):
    """The benchmark has no valid result; the message says why."""


@dataclass(frozen=True)
class Bench:
    """A run of benchmarks.

    Attributes:
        customers: the sizes, ascending.
        repeats: how often each is measured; None for three times up to 100,000 customers and once beyond.
        time_limit: the seconds after which a naive step is given up.
        say: takes a line of progress.
    """

    server: Server
    customers: tuple[int, ...]
    repeats: int | None
    time_limit: float
    say: Callable[[str], None]

    def repeats_of(self, customers: int) -> int:
        return self.repeats or (REPEATS if customers <= REPEATED_UP_TO else 1)

    def drops(self, customers: int, months: int) -> list[Drop]:
        """Return generated drops with labels, oldest first, in their own landing directory."""
        landing = self.server.directory / f"{customers}x{months}" / "landing"
        if not landing.exists():
            self.say(f"generating {months} drop{'s'[: months > 1]} of {customers:,} customers")
            measure(self.server, "churn", None, generate, landing, customers, months)
        return list_drops(landing)

    def forget_drops(self, drops: list[Drop]) -> None:
        shutil.rmtree(drops[0].path.parents[1])


def generate(_: Watch, landing: Path, customers: int, months: int) -> None:
    write_drops(landing, customers=customers, months=months, seed=SEED)
