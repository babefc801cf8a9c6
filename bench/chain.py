"""The whole chain on the real scheduler: one AS_OF from trigger to gate decision, and six by backfill.

The stack is warm, and six AS_OFs have filled the training window before the measurement.
"""

import socket
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from bench.context import Bench
from bench.figures import Row, goal, goal_rows, number
from churn.synthetic.generate import write_drops
from embedded.commands.airflow_api import Airflow, Ref, Task
from embedded.commands.chain import HEAD, Link, follow, wait_for_dag
from embedded.commands.drops import find_drops, land
from embedded.operator.status import as_of_states
from embedded.settings import Settings
from embedded.stack import lifecycle as stack
from embedded.table import table

WINDOW = 6
SIX = 6
DECIDES = ("churn_train", "gate")
Say = Callable[[str], None]


class ChainFailed(RuntimeError):
    """A measured chain did not end in a decision, so its seconds mean nothing."""


def run(bench: Bench) -> Row:
    """Measure with a temporary stack."""
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as directory:
        result = measure_chain(Path(directory) / "home", bench.say)
    one, six = (result[name]["seconds_to_decision"] for name in ("one", "six"))
    goals = [goal("s from trigger to decision, one AS_OF", one, most=20), goal("s for six by backfill", six, most=60)]
    return {**result, "goals": goals}


def render(result: Row) -> str:
    """Return the result as tables for a terminal."""
    parts = ("scheduling", "starting", "seconds", "longest")
    tables = [table(("goal", "is", "asked", "met"), goal_rows(result["goals"]))]
    for name, of in (("one", "one AS_OF"), ("six", "mean of six AS_OFs")):
        rows = [(row["task"], *(number(row[part]) for part in parts)) for row in result[name]["by_task"]]
        tables.append(table((f"{result['customers']:,} customers, {of}", *(f"{part} s" for part in parts)), rows))
    return "\n\n".join(tables)


def measure_chain(home: Path, say: Say, customers: int = 7_000, seed: int = 1) -> dict[str, Any]:
    """Start a stack in `home`, which must not exist, measure, and remove the stack.

    Returns:
        `one` and `six`, each with the seconds to the (last) decision, split by task: `scheduling` is from the end of
        the previous task until this one is queued (including the wait for a pool), `starting` until its start,
        `seconds` until its end.

    Raises:
        ChainFailed: a run failed, or an AS_OF has no decision.
    """
    if home.exists():
        raise FileExistsError(f"{home} exists: this benchmark deletes its home at the end")
    airflow_port, mlflow_port, serving_port = free_ports(3)
    settings = Settings(home, airflow_port, mlflow_port, serving_port)
    with ExitStack() as cleanup:
        cleanup.callback(stack.clean, settings, say)
        stack.up(settings, say)
        generated = home / "generated"
        write_drops(generated, customers=customers, months=WINDOW + 1 + SIX, seed=seed, daily=True)
        drops = list(find_drops(generated).items())
        airflow = Airflow(settings.airflow_url)
        wait_for_dag(airflow)
        # It would start the measured chains itself.
        airflow.pause("churn_landing")
        follow_here = partial(_run, settings, airflow, say)
        follow_here(drops[:WINDOW])
        one = follow_here(drops[WINDOW : WINDOW + 1])
        six = follow_here(drops[WINDOW + 1 :])
    return {"customers": customers, "labelled_dates": WINDOW, "one": one, "six": six}


def _run(settings: Settings, airflow: Airflow, say: Say, drops: list[tuple[date, Path]]) -> dict[str, Any]:
    """Land the drops, run their chains to the end, and return the seconds by task."""
    for _, drop in drops:
        land(drop, settings.landing)
    days = [as_of for as_of, _ in drops]
    heads: dict[Ref, str] = {}
    if len(days) == 1:
        heads[airflow.trigger(HEAD, {"as_of": str(days[0])}).ref] = str(days[0])
    else:
        heads |= {run.ref: run.partition_key or "" for run in airflow.backfill(HEAD, days[0], days[-1])}
    links = follow(airflow, heads, say, partial(stack.check_alive, settings))
    undecided = set(days) - {state.as_of for state in as_of_states(settings) if state.decision}
    if undecided or any(link.failed for link in links):
        failed = [f"{link.as_of} {link.run.ref.dag_id}" for link in links if link.failed]
        raise ChainFailed(f"failed: {failed}; without a decision: {sorted(map(str, undecided))}")
    return _account(airflow, links)


def _account(airflow: Airflow, links: list[Link]) -> dict[str, Any]:
    began = min(link.run.queued_at for link in links if link.run.queued_at)
    chains: dict[str, list[Task]] = {}
    for link in links:
        chains.setdefault(link.as_of, []).extend(
            task for task in airflow.tasks(link.run.ref) if task.started_at and task.ended_at
        )
    rows = [row for as_of, tasks in sorted(chains.items()) for row in _rows(as_of, began, tasks)]
    decided = {row["as_of"]: row["ended"] for row in rows if row["task"] == ".".join(DECIDES)}
    return {
        "seconds_to_decision": max(decided.values()),
        "decided_after": decided,
        "by_task": [_summary(name, rows) for name in dict.fromkeys(row["task"] for row in rows)],
        "tasks": rows,
    }


def _rows(as_of: str, began: datetime, tasks: list[Task]) -> Iterable[dict[str, Any]]:
    """Yield the tasks of a chain in order, with times in seconds since `began`."""
    ordered = sorted(tasks, key=_start)
    ends = [began, *(_end(task) for task in ordered)]
    for task, (before, end) in zip(ordered, pairwise(ends), strict=True):
        yield {
            "as_of": as_of,
            "task": f"{task.ref.dag_id}.{task.task_id}",
            "scheduling": _seconds(_queued(task) - before),
            "starting": _seconds(_start(task) - _queued(task)),
            "seconds": _seconds(end - _start(task)),
            "ended": _seconds(end - began),
        }


def _queued(task: Task) -> datetime:
    # A task that is skipped with its predecessor is never queued.
    return task.queued_at or _start(task)


def _start(task: Task) -> datetime:
    assert task.started_at
    return task.started_at


def _end(task: Task) -> datetime:
    assert task.ended_at
    return task.ended_at


def _seconds(span: timedelta) -> float:
    return round(span.total_seconds(), 3)


def _summary(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    ours = [row for row in rows if row["task"] == name]
    return {
        "task": name,
        **{part: round(mean(row[part] for row in ours), 3) for part in ("scheduling", "starting", "seconds")},
        "longest": max(row["seconds"] for row in ours),
    }


def free_ports(number: int) -> list[int]:
    """Return `number` free ports of 127.0.0.1."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
