"""`python -m bench`: runs the benchmarks, prints their tables and writes their results, like `make bench`."""

import argparse
import os
import signal
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path

BENCHMARKS = {
    "steps": "seconds and peak memory of each step from a drop to its outcome, by customers",
    "scores": "scoring and writing the list: naive, ours and the limit, by family of models and customers",
    "chain": "seconds of one AS_OF, and of six by backfill, through the real scheduler, task by task",
    "workers": "ten AS_OFs by backfill on Celery, with one worker process and with two, stage by stage",
    "online": "writing and reading features online: Feast's stock store, ours in Postgres and in Redis, by customers",
    "erasure": "erasing a thousand customers in one request, place by place, by customers",
    "gate": "how often the gate errs, by simulation",
    "regime": "how often a regime change is called, with and without one, by simulation",
    "health": "how well a list's expected performance says what comes, by simulation",
    "holds": "how often a valid drop is held, by simulation: daily and monthly, of 200 to 20,000 customers",
    "drift": "how often a quiet night is flagged and how soon a drift is found, of 200 to 1,000,000 customers",
    "serving": "latency and throughput of a prediction: naive, ours and the limit, at the smallest size",
    "spark": "the steps that Spark takes over, on a standalone cluster of two workers; only if named, needs make spark",
    "serving_soak": "minutes of steady load on serving while Production changes every 20 s; only if named",
}
"""Each is a module with run(bench), which returns figures and lists of rows by name."""

ONLY_NAMED = {"serving_soak", "spark"}
"""One runs for many minutes, the other needs pyspark and Java."""

CUSTOMERS = (7_000, 100_000, 1_000_000)


def main() -> int:
    arguments = _parser().parse_args()
    # SIGTERM cleans up too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["PGTZ"] = "UTC"
    os.environ["FEAST_USAGE"] = "False"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "jemalloc"
    warnings.simplefilter("ignore")
    try:
        _run(arguments)
    except KeyboardInterrupt:
        print("\ninterrupted; cleaned up", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _run(arguments: argparse.Namespace) -> None:
    # These imports take seconds, which --help should not need.
    from bench.context import Bench  # noqa: PLC0415
    from bench.results import machine, render, write  # noqa: PLC0415
    from bench.server import running_server  # noqa: PLC0415

    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {line}", file=sys.stderr, flush=True)  # noqa: T201

    with running_server(arguments.work, say) as server:
        customers = tuple(sorted(set(arguments.customers)))
        bench = Bench(server, customers, arguments.repeats, say)
        facts = machine(server)
        for name in arguments.benchmarks or [each for each in BENCHMARKS if each not in ONLY_NAMED]:
            say(f"{name}: {BENCHMARKS[name]}")
            module = import_module(f"bench.{name}")
            result = {"benchmark": name, "machine": facts, **module.run(bench)}
            path = write(arguments.out, name, result)
            print(f"\n{render(result)}\n")  # noqa: T201
            say(f"wrote {path}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Compares the pipeline with a naive one (pandas, upserts, Feast's stock Postgres stores) and\n"
        "with the limit (the same bytes through the same server without checks, indexes or\n"
        "consistency). Each step runs in its own process, on a temporary Postgres that is started like the\n"
        "embedded stack's. Seconds are the minimum of the repetitions, without importing libraries; memory\n"
        'includes them. "server MB" is the peak private memory of one Postgres process. Naive stops at\n'
        "100,000 customers. workers and online need redis-server; serving and serving_soak need wrk.\n\n"
        + "\n".join(f"  {name:14}{text}" for name, text in BENCHMARKS.items()),
        epilog='example: make bench ARGS="steps --customers 7000 100000"',
    )
    parser.add_argument(
        "benchmarks",
        nargs="*",
        choices=[[], *BENCHMARKS],
        metavar="benchmark",
        help="default: all but serving_soak",
    )
    parser.add_argument(
        "--customers", type=_positive, nargs="+", default=CUSTOMERS, metavar="N",
        help=f"numbers of customers (default: {' '.join(map(str, CUSTOMERS))})",
    )  # fmt: skip
    parser.add_argument(
        "--repeats", type=_positive, metavar="N",
        help="default: 3 up to 100,000 customers, 1 beyond; for gate thousands of decisions, hundreds of chains; "
        "for holds the chains per case, 15; for health the lists per case and the seeds; for drift the "
        "nights per case, 1000; for serving_soak the minutes, 10",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results", metavar="DIR",
        help="the directory of the results (default: bench/results)",
    )  # fmt: skip
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="the parent of the server's temporary directory (default: the system's)",
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
