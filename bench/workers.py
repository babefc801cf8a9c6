"""Ten AS_OFs on Celery, with one worker process and with two, each running one task at a time.

A stage is a DAG that runs alone: ten snapshots by backfill, then ten materializations, while the next DAG is paused. In
a backfill of the whole chain, the stages would share the workers and each stage's time would include the others.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import BenchError
from bench.celery_workers import celery_workers
from bench.context import SEED, Bench
from bench.figures import Row, ratio, significant
from bench.processes import redis_server
from bench.server import temporary_stack
from churn.synthetic.generate import write_drops
from embedded.commands.airflow_api import Airflow, Run, Task
from embedded.commands.chain import HEAD, wait_for_dag
from embedded.commands.drops import find_drops, land
from embedded.environment import environment
from embedded.stack import lifecycle as stack

AS_OFS = 10
LARGEST = 100_000
AT_ONCE = 5
"""Concurrent runs of churn_snapshot. With fewer, two workers wait for the scheduler; with all ten, the scheduler's loop
takes longer on the same cores."""
STAGES = {"snapshot": HEAD, "materialize": "churn_materialize"}
PATIENCE = 600.0


def run(bench: Bench) -> Row:
    """Measure each size up to 100,000 customers, with one worker and two, each on a temporary stack.

    Raises:
        BenchError: a run failed, or a stage did not end.
    """
    rows: list[Row] = []
    for customers in [customers for customers in bench.customers if customers <= LARGEST]:
        one, two = (measure_stages(bench, customers, workers) for workers in (1, 2))
        for stage in STAGES:
            figures = {
                "one worker s": one[stage]["seconds"],
                "busy with one s": one[stage]["busy"],
                "two workers s": two[stage]["seconds"],
                "busy with two s": two[stage]["busy"],
                "speed-up": ratio(one[stage]["seconds"], two[stage]["seconds"]),
            }
            rows.append({"customers": customers, "stage": stage, **figures})
    return {"AS_OFs": AS_OFS, "stages": rows}


def measure_stages(bench: Bench, customers: int, workers: int) -> Row:
    """Start a stack with that number of workers, run each stage, and return the result of stage_of() by stage."""
    bench.say(f"{customers:,} customers, {workers} worker{'s'[: workers > 1]}")
    with ExitStack() as cleanup:
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="churn-bench-")))
        broker = cleanup.enter_context(redis_server(directory))
        settings = cleanup.enter_context(temporary_stack(broker=broker))
        stack.up(settings, bench.say)
        write_drops(directory / "drops", customers=customers, months=AS_OFS, seed=SEED, daily=True)
        drops = find_drops(directory / "drops")
        for drop in drops.values():
            land(drop, settings.landing)
        airflow = Airflow(settings.airflow_url)
        wait_for_dag(airflow)
        for dag_id in airflow.dags():
            airflow.pause(dag_id)
        names = [f"worker-{number}" for number in range(workers)]
        cleanup.enter_context(celery_workers(directory, environment(settings), names))
        with _unpaused(airflow, STAGES["snapshot"]):
            snapshots = airflow.backfill(HEAD, min(drops), max(drops), AT_ONCE)
            found = {"snapshot": stage_of(_tasks_of(airflow, snapshots))}
        materializations = [airflow.trigger(STAGES["materialize"], {"as_of": str(as_of)}) for as_of in drops]
        with _unpaused(airflow, STAGES["materialize"]):
            found["materialize"] = stage_of(_tasks_of(airflow, materializations))
        return found


@contextmanager
def _unpaused(airflow: Airflow, dag_id: str) -> Iterator[None]:
    airflow.pause(dag_id, False)
    yield
    airflow.pause(dag_id)


def _tasks_of(airflow: Airflow, runs: list[Run]) -> list[Task]:
    """Return the tasks of the runs after all have succeeded."""
    deadline = time.monotonic() + PATIENCE
    waiting = {run.ref for run in runs}
    while waiting & airflow.unfinished():
        if time.monotonic() > deadline:
            raise BenchError(f"not done after {PATIENCE:.0f} s: {sorted(waiting & airflow.unfinished())}")
        time.sleep(1)
    if failed := [run.ref for run in runs if airflow.run(run.ref).state != "success"]:
        raise BenchError(f"failed: {failed}")
    return [task for run in runs for task in airflow.tasks(run.ref)]


def stage_of(tasks: list[Task]) -> Row:
    """Return `seconds` from the first start of a task to the last end, and `busy`, the summed seconds of the tasks."""
    spans = [(task.started_at, task.ended_at) for task in tasks if task.started_at and task.ended_at]
    return {
        "seconds": round((max(end for _, end in spans) - min(start for start, _ in spans)).total_seconds(), 2),
        "busy": significant(sum((end - start).total_seconds() for start, end in spans)),
    }
