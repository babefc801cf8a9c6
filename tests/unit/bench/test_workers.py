"""The figures of the benchmarks workers and chain, computed from their tasks."""

from datetime import UTC, datetime, timedelta

from bench.chain import account
from bench.workers import stage_of
from embedded.commands.airflow_api import Ref, Task

MIDNIGHT = datetime(2024, 1, 31, tzinfo=UTC)


def task(start: float | None, end: float | None, queued: float = 0, name: str = "churn_snapshot.load") -> Task:
    at = (None if seconds is None else MIDNIGHT + timedelta(seconds=seconds) for seconds in (queued, start, end))
    dag_id, _, task_id = name.partition(".")
    return Task(Ref(dag_id, "run"), task_id, -1, 1, "success", "worker", *at)


def test_a_stage_lasts_from_the_first_start_of_its_tasks_to_the_last_end_of_one():
    assert stage_of([task(2, 4), task(1, 2), task(5, 9.5)])["seconds"] == 8.5


def test_workers_are_busy_while_tasks_run_each_counted_by_itself():
    assert stage_of([task(2, 4), task(1, 3), task(5, 9.5)])["busy"] == 8.5


def test_a_task_that_did_not_run_counts_for_nothing():
    assert stage_of([task(2, 4), task(None, None)]) == {"seconds": 2.0, "busy": 2.0}


def test_a_task_of_a_chain_is_scheduled_after_the_previous_one_then_starts_and_runs():
    chains = ([task(3, 6, 2), task(7, 12, 6.5, "churn_train.gate")], [task(4, 9, 1), task(None, None)])
    decided, rows = account(MIDNIGHT, chains)
    assert decided == 12
    assert [tuple(row.values()) for row in rows] == [
        ("churn_snapshot.load", 1.5, 2, 4, 5),
        ("churn_train.gate", 0.5, 0.5, 5, 5),
    ]
