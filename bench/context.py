"""The context of every benchmark: the server, sizes, repetitions and drops."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Watch, measure
from bench.server import Say, Server
from churn.drops.landing import Drop, list_drops
from churn.synthetic.generate import write_drops

SEED = 1
REPEATED_UP_TO = 100_000
REPEATS = 3


@dataclass(frozen=True)
class Bench:
    """A run of benchmarks.

    Attributes:
        customers: the sizes, ascending.
        repeats: how often each is measured; None for the benchmark's default.
        say: takes a line of progress.
    """

    server: Server
    customers: tuple[int, ...]
    repeats: int | None
    say: Say

    def repeats_of(self, customers: int) -> int:
        return self.repeats or (REPEATS if customers <= REPEATED_UP_TO else 1)

    @contextmanager
    def drops(self, customers: int, months: int = 1) -> Iterator[list[Drop]]:
        """Generate drops with labels, oldest first, in a temporary landing directory of their own."""
        self.say(f"generating {months} drop{'s'[: months > 1]} of {customers:,} customers")
        with tempfile.TemporaryDirectory(dir=self.server.directory) as directory:
            landing = Path(directory) / "landing"
            measure(self.server, generate, landing, customers, months)
            yield list_drops(landing)


def generate(_: Watch, landing: Path, customers: int, months: int) -> None:
    write_drops(landing, customers=customers, months=months, seed=SEED)
