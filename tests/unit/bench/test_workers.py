"""The figures of the worker benchmark, computed from its tasks."""

from datetime import UTC, datetime, timedelta

from bench.workers import stage_of
from embedded.commands.airflow_api import Ref, Task

MIDNIGHT = datetime(2024, 1, 31, tzinfo=UTC)


def task(start: float | None, end: float | None) -> Task:
    started_at, ended_at = (None if at is None else MIDNIGHT + timedelta(seconds=at) for at in (start, end))
    return Task(Ref("churn_snapshot", "run"), "load", -1, 1, "success", "worker", MIDNIGHT, started_at, ended_at)


def test_a_stage_lasts_from_the_first_start_of_its_tasks_to_the_last_end_of_one():
    assert stage_of([task(2, 4), task(1, 2), task(5, 9.5)])["seconds"] == 8.5


def test_workers_are_busy_while_tasks_run_each_counted_by_itself():
    assert stage_of([task(2, 4), task(1, 3), task(5, 9.5)])["busy"] == 8.5


def test_a_task_that_did_not_run_counts_for_nothing():
    assert stage_of([task(2, 4), task(None, None)]) == {"seconds": 2.0, "busy": 2.0}
