"""Ten AS_OFs by backfill on Celery, with one worker process and with two that take one task at a time each.

For each a stack of its own, warm and empty. At the smallest size the whole chain runs; at the others nobody takes tasks
from the queue `training`, so that what is measured is snapshot and materialize.
"""

import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.chain import ChainFailed, free_ports
from bench.context import Bench
from bench.figures import Row, goal, goal_rows, number, ratio, significant
from churn.generate import write_drops
from embedded import stack
from embedded.airflow_api import Airflow, Task
from embedded.celery_workers import QUEUES, celery_workers, redis_server
from embedded.chain import HEAD, wait_for_dag
from embedded.drops import find_drops, land
from embedded.settings import Settings, environment
from embedded.table import table

AS_OFS = 10
LARGEST = 100_000
AT_ONCE = 4
"""Runs of churn_snapshot beside each other: two workers need more than two, or each waits for the scheduler."""
STAGES = {
    "snapshot": ("churn_snapshot.validate", "churn_snapshot.load", "churn_snapshot.snapshot"),
    "materialize": ("churn_materialize.apply", "churn_materialize.materialize"),
    "train": ("churn_train.train", "churn_train.gate"),
}
"""The tasks of each stage. Its seconds are from the first start of one of them to the last end of one."""
PATIENCE = 900.0


def run(bench: Bench) -> Row:
    """Measure each size up to 100,000 customers in temporary homes."""
    sizes = [customers for customers in bench.customers if customers <= LARGEST]
    rows: list[Row] = []
    for customers in sizes:
        trains = customers == sizes[0]
        one, two = (measure_backfill(bench, customers, workers, trains) for workers in (1, 2))
        speed_up = {stage: ratio(one[stage]["seconds"], two[stage]["seconds"]) for stage in one}
        rows.append({"customers": customers, "one": one, "two": two, "speed_up": speed_up})
    goals = [
        goal(f"one worker / two at {row['customers']:,}: {stage}", row["speed_up"][stage], least=1.5)
        for row in rows
        for stage in ("snapshot", "materialize")
    ]
    return {"as_ofs": AS_OFS, "goals": goals, "sizes": rows}


def render(result: Row) -> str:
    """Return the result as tables for a terminal."""
    tables = [table(("goal", "is", "asked", "met"), goal_rows(result["goals"]))]
    for size in result["sizes"]:
        title = f"{size['customers']:,} customers, {result['as_ofs']} AS_OFs"
        header = (title, "one worker s", "busy s", "two workers s", "busy s", "speed-up")
        rows = [
            (stage, *(number(size[workers][stage][part]) for workers in ("one", "two") for part in ("seconds", "busy")),
             number(speed_up))
            for stage, speed_up in size["speed_up"].items()
        ]  # fmt: skip
        tables.append(table(header, rows))
    return "\n\n".join(tables)


def measure_backfill(bench: Bench, customers: int, workers: int, trains: bool) -> dict[str, Any]:
    """Start a stack with so many workers, run the backfill, and leave nothing behind.

    Returns:
        By stage the `seconds` from its first task's start to its last one's end, and how many of them its tasks took
        (`busy`, summed over workers).

    Raises:
        ChainFailed: a task failed, or the backfill did not end.
    """
    bench.say(f"{customers:,} customers, {workers} worker{'s'[: workers > 1]}")
    with ExitStack() as cleanup:
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="churn-bench-")))
        broker = cleanup.enter_context(redis_server(directory))
        airflow_port, mlflow_port, serving_port = free_ports(3)
        settings = Settings(directory / "home", airflow_port, mlflow_port, serving_port, broker=broker)
        cleanup.callback(stack.clean, settings, bench.say)
        stack.up(settings, bench.say)
        write_drops(directory / "drops", customers=customers, months=AS_OFS, seed=1, daily=True)
        drops = find_drops(directory / "drops")
        airflow = Airflow(settings.airflow_url)
        wait_for_dag(airflow)
        # It would start the chains that are to be measured by itself.
        airflow.pause("churn_landing")
        names = [f"worker-{number}" for number in range(workers)]
        cleanup.enter_context(celery_workers(directory, environment(settings), names, QUEUES if trains else QUEUES[:1]))
        # What is due every day is done first: it warms the workers up.
        while {run.dag_id for run in airflow.unfinished()} - {"churn_landing"}:
            time.sleep(1)
        for drop in drops.values():
            land(drop, settings.landing)
        began = datetime.now(UTC)
        airflow.backfill(HEAD, min(drops), max(drops), at_once=AT_ONCE)
        return stages_of(_wait_for(airflow, STAGES["train" if trains else "materialize"][-1], began))


def _wait_for(airflow: Airflow, last: str, began: datetime) -> list[Task]:
    """Return all tasks since `began` when `last` has ended for every AS_OF."""
    deadline = time.monotonic() + PATIENCE
    while True:
        tasks = [task for task in airflow.all_tasks() if task.queued_at and task.queued_at >= began]
        failed = [task for task in tasks if task.state in ("failed", "up_for_retry", "upstream_failed")]
        if failed or time.monotonic() > deadline:
            raise ChainFailed(f"the backfill did not end: {failed or tasks}")
        done = sum(_name(task) == last and task.state == "success" for task in tasks)
        if done == AS_OFS:
            return tasks
        time.sleep(2)


def stages_of(tasks: list[Task]) -> dict[str, Any]:
    """Return the `seconds` and `busy` of each stage that ran, see measure_backfill()."""
    found = {}
    for stage, names in STAGES.items():
        spans = [(t.started_at, t.ended_at) for t in tasks if _name(t) in names and t.started_at and t.ended_at]
        if spans:
            found[stage] = {
                "seconds": _seconds(min(start for start, _ in spans), max(end for _, end in spans)),
                "busy": significant(sum(_seconds(start, end) for start, end in spans)),
            }
    return found


def _seconds(start: datetime, end: datetime) -> float:
    return round((end - start).total_seconds(), 2)


def _name(task: Task) -> str:
    return f"{task.ref.dag_id}.{task.task_id}"
