"""`python -m bench`: run the benchmarks, print their tables and write their results, as `make bench` does."""

import argparse
import os
import signal
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path

BENCHMARKS = {
    "steps": "seconds and peak memory of load + validate, snapshot, materialize and training set, by customers",
    "growth": "what the twelfth monthly AS_OF costs beside the eighth, at the smallest size",
    "chain": "seconds of one AS_OF, and of six by backfill, through the real scheduler, task by task",
    "workers": "ten AS_OFs by backfill on Celery, with one worker process and with two, stage by stage",
    "online": "milliseconds of an online read of one customer's features, at the smallest size",
    "online_redis": "the same where Redis is the online store, and what it takes; only where it is named",
    "gate": "how often the gate errs, by simulation, and what a decision costs at the largest size",
    "holds": "how often a true drop is held, by simulation: daily and monthly, of 200 to 20,000 customers",
    "serving": "milliseconds and requests/s of a prediction beside a naive service and the limit, at the smallest size",
    "serving_soak": "minutes of steady load on serving while Production changes every 20 s; only where it is named",
}
"""Each is a module with run(bench), which measures, and render(result), which makes tables of it."""

ONLY_NAMED = {"online_redis", "serving_soak"}
"""They want a Redis, or run for minutes more, and not with the others."""

CUSTOMERS = (7_000, 100_000, 1_000_000)


def main() -> int:
    arguments = _parser().parse_args()
    # Whoever ends us by SIGTERM has everything cleaned up too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["PGTZ"] = "UTC"
    os.environ["FEAST_USAGE"] = "False"
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "jemalloc"
    warnings.simplefilter("ignore")
    try:
        _run(arguments)
    except KeyboardInterrupt:
        print("\ninterrupted; everything is cleaned up", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _run(arguments: argparse.Namespace) -> None:
    # What follows takes seconds to import: not for --help.
    from bench.context import Bench  # noqa: PLC0415
    from bench.results import machine, write  # noqa: PLC0415
    from bench.server import running_server  # noqa: PLC0415

    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {line}", file=sys.stderr, flush=True)  # noqa: T201

    with running_server(arguments.work) as server:
        customers = tuple(sorted(set(arguments.customers)))
        bench = Bench(server, customers, arguments.repeats, arguments.time_limit, say)
        facts = machine(server)
        for name in arguments.benchmarks or [each for each in BENCHMARKS if each not in ONLY_NAMED]:
            say(f"{name}: {BENCHMARKS[name]}")
            module = import_module(f"bench.{name}")
            result = {"benchmark": name, "machine": facts, **module.run(bench)}
            written = [write(arguments.out, name, result)]
            if name == "steps":
                # Its libraries would count as memory of the steps, were they there before.
                from bench.plot import plot_steps  # noqa: PLC0415

                written.append(plot_steps(arguments.out, result))
            print(f"\n{module.render(result)}\n")  # noqa: T201
            say(f"wrote {', '.join(map(str, written))}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="The pipeline beside a naive one of our own (pandas, upserts, Feast's stock Postgres stores) and\n"
        "beside the limit (the same bytes through the same server with nothing checked, indexed or kept\n"
        "consistent). Each step runs in a process of its own, against a Postgres of the benchmarks' own that is\n"
        "started as the embedded stack starts it and gone at the end. Seconds are the least of the repetitions;\n"
        'importing libraries is not counted, their memory is. "server MB" is what one Postgres process was seen to\n'
        "hold of its own. Naive stops at 100,000 customers.\n\n"
        + "\n".join(f"  {name:14}{text}" for name, text in BENCHMARKS.items()),
        epilog='example: make bench ARGS="steps --customers 7000 100000"',
    )
    parser.add_argument(
        "benchmarks",
        nargs="*",
        choices=[[], *BENCHMARKS],
        metavar="benchmark",
        help="default: all but online_redis and serving_soak",
    )
    parser.add_argument(
        "--customers", type=_positive, nargs="+", default=CUSTOMERS, metavar="N",
        help=f"how many customers (default: {' '.join(map(str, CUSTOMERS))})",
    )  # fmt: skip
    parser.add_argument(
        "--repeats", type=_positive, metavar="N",
        help="default: 3 up to 100,000 customers, 1 beyond; of the gate's decisions thousands, of its chains hundreds; "
        "of the chains of holds 15 a kind; "
        "of serving_soak the minutes, 10",
    )  # fmt: skip
    parser.add_argument(
        "--time-limit", type=_positive, default=600, metavar="SECONDS",
        help="a naive step is given up after so long, and reported as such (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results", metavar="DIR",
        help="where the results go (default: bench/results)",
    )  # fmt: skip
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="where the server's temporary directory is made (default: the system's)",
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
