"""Load by wrk, which takes a fraction of the time of any service here: bodies POSTed over connections that each send
the next request when they have the answer to the last."""

import json
import shutil
import subprocess
from pathlib import Path

from bench import BenchError
from bench.figures import Row, significant

SCRIPT = Path(__file__).with_name("wrk.lua")
PATIENCE = "60s"
"""A slow service is measured, not counted as an error."""


def find_wrk() -> str:
    """Return the path of wrk.

    Raises:
        BenchError: it is not installed.
    """
    if found := shutil.which("wrk"):
        return found
    raise BenchError("the load on services is made by wrk, which is not in PATH: apt-get install wrk")


def load(url: str, bodies: Path, connections: int, seconds: int) -> Row:
    """POST the lines of the file `bodies` to `url`, and return latency and good answers per second.

    The 99th percentile is wrk's, which adds the requests that a connection could not send while it waited long.

    Raises:
        BenchError: wrk is not installed or cannot connect, or a connection broke or got another answer than 2xx or 3xx.
    """
    options = ("--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--timeout", PATIENCE)
    command = [find_wrk(), *options, "--script", str(SCRIPT), url, "--", str(bodies)]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    if found.returncode:
        raise BenchError(f"wrk could not load {url}: {(found.stderr or found.stdout).strip()}")
    told = json.loads(next(line for line in found.stdout.splitlines() if line.startswith("{")))
    if told["status"] or told["broken"] or not told["requests"]:
        raise BenchError(f"{connections} connections to {url} were not all answered: {told}")
    return {
        "p50 ms": significant(told["p50"] / 1000),
        "p99 ms": significant(told["p99"] / 1000),
        "requests/s": significant(told["requests"] * 10**6 / told["duration"]),
    }
