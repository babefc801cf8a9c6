"""What the benchmark of one worker against two makes of the tasks that ran."""

from datetime import UTC, datetime, timedelta

from bench.workers import stages_of
from embedded.airflow_api import Ref, Task

MIDNIGHT = datetime(2024, 1, 31, tzinfo=UTC)


def task(name: str, start: float | None, end: float | None) -> Task:
    dag_id, task_id = name.split(".")
    started_at, ended_at = (None if at is None else MIDNIGHT + timedelta(seconds=at) for at in (start, end))
    return Task(Ref(dag_id, "run"), task_id, -1, 1, "success", MIDNIGHT, started_at, ended_at)


def test_a_stage_lasts_from_the_first_start_of_its_tasks_to_the_last_end_of_one():
    tasks = [
        task("churn_snapshot.load", 2, 4),
        task("churn_snapshot.validate", 1, 2),
        task("churn_snapshot.load", 5, 9.5),
        task("churn_snapshot.supersede", 9.5, 20),
        task("churn_materialize.materialize", 30, 32),
    ]
    stages = stages_of(tasks)
    assert stages["snapshot"] == {"seconds": 8.5, "busy": 7.5}
    assert stages["materialize"] == {"seconds": 2.0, "busy": 2.0}


def test_a_stage_that_nothing_ran_of_is_left_out():
    assert set(stages_of([task("churn_snapshot.load", 2, 4), task("churn_train.train", None, None)])) == {"snapshot"}
