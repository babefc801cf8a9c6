"""Load by wrk, which takes a fraction of the time of any service here: bodies POSTed over connections that each send
the next request when they have the answer to the last."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.context import BenchError
from bench.figures import Row, significant

SCRIPT = Path(__file__).with_name("wrk.lua")
PATIENCE = "60s"
"""Whoever is slow is measured, not counted as an error."""


@dataclass(frozen=True)
class Load:
    """How a service did: milliseconds from a request to its answer, and answers a second that were good ones.

    The 99th percentile is wrk's, which adds the requests that a connection could not send while it waited long.
    `errors` are answers other than 2xx and 3xx, and connections that broke.
    """

    p50: float | None
    p99: float | None
    rate: float
    errors: int

    def to_json(self) -> Row:
        return {
            "p50_ms": significant(self.p50),
            "p99_ms": significant(self.p99),
            "requests_per_second": significant(self.rate),
            "errors": self.errors,
        }


def find_wrk() -> str:
    """Return where wrk is.

    Raises:
        BenchError: it is not installed.
    """
    if found := shutil.which("wrk"):
        return found
    raise BenchError("the load on services is made by wrk, which is not in PATH: apt-get install wrk")


def load(url: str, bodies: Path, connections: int, seconds: int) -> Load:
    """POST the lines of the file `bodies` to `url` for so long.

    Raises:
        BenchError: wrk is not installed, or cannot connect.
    """
    options = ("--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--timeout", PATIENCE)
    command = [find_wrk(), *options, "--script", str(SCRIPT), url, "--", str(bodies)]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    if found.returncode:
        raise BenchError(f"wrk could not load {url}: {(found.stderr or found.stdout).strip()}")
    told = json.loads(next(line for line in found.stdout.splitlines() if line.startswith("{")))
    answered = told["requests"] > 0
    return Load(
        p50=told["p50"] / 1000 if answered else None,
        p99=told["p99"] / 1000 if answered else None,
        rate=(told["requests"] - told["status"]) / (told["duration"] / 10**6),
        errors=told["status"] + told["broken"],
    )


def together(loads: list[Load]) -> Load:
    """Return the median of each figure of several loads, and all errors."""
    return Load(
        p50=_median([each.p50 for each in loads]),
        p99=_median([each.p99 for each in loads]),
        rate=median(each.rate for each in loads),
        errors=sum(each.errors for each in loads),
    )


def _median(values: list[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return median(known) if known else None
