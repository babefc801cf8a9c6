"""A run of churn_outcome that is killed before any act: the judgements of an undisturbed run, and its alert is sent."""

import psycopg
import pytest

from churn.outcomes.alarms import find_changes, record_alert
from churn.outcomes.expectation_step import expect_performance
from churn.outcomes.judgement_step import judge_outcomes
from churn.scores.scoring_step import score_customers
from churn.synthetic.generate import write_drops
from tests.conftest import THOROUGH, database_copy, mlflow_at, tracking
from tests.integration.conftest import Pipeline
from tests.integration.fault_injection import Child
from tests.integration.fault_registry import Registry, count_changes, registry_copy
from tests.integration.moments import moments
from tests.integration.outcomes.test_late_labels import FEBRUARY, JANUARY, MARCH
from tests.integration.training_chain import QUICK, Chain


def run_outcome(world: Registry) -> list[str]:
    """Judge, estimate and alert, as the tasks do; return the alerts that were sent."""
    sent = []
    with mlflow_at(world.mlflow_uri):
        judge_outcomes(MARCH, world.database_url)
        expect_performance(MARCH, world.database_url)
        for change in find_changes(world.database_url, None):
            sent.append(change.title)
            record_alert(world.database_url, change)
    return sent


def found(world: Registry) -> list[list[tuple]]:
    with psycopg.connect(world.database_url) as connection:
        return [
            connection.execute(f"SELECT {columns} FROM outcomes.{table} ORDER BY {columns}").fetchall()
            for table, columns in (
                ("judgements", "as_of, revision, known_as_of, list_revision, answering_version"),
                ("performance", "as_of, revision, model_version, source, basis, arm, slice, rows, auc, verdict"),
                ("expected", "as_of, list_revision, basis, auc, brier, churn_rate"),
                ("alarms", "model_version, verdict, as_of, revision"),
            )
        ]


@pytest.fixture
def world(postgres_url, churn_template, mlflow_template, tmp_path):
    """February is scored, and March brought its labels, all turned: the version is no better than chance on them."""
    import mlflow

    write_drops(tmp_path / "landing", customers=1500, months=3, seed=3, late_labels=1)
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, tmp_path),
    ):
        chain = Chain(Pipeline(database_url, tmp_path / "landing", tmp_path / "archive"))
        chain.pipeline.serve(JANUARY)
        for day in (FEBRUARY, MARCH):
            chain(day, QUICK)
            score_customers(day, database_url, str(tmp_path / "scores"), 0.1)
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "UPDATE snapshots.labels_snapshots SET churn_label = NOT churn_label WHERE as_of = %s", [FEBRUARY]
            )
        yield Registry(database_url, mlflow.get_tracking_uri(), tmp_path, MARCH)


def test_an_outcome_killed_before_any_act_is_completed_by_the_retry(world, children, postgres_url):
    with registry_copy(world, postgres_url) as copy:
        alerts = run_outcome(copy)
        undisturbed = found(copy)
    assert alerts == ["model version 1 is no better than chance"]
    for n in moments(4 if THOROUGH else 9):
        with registry_copy(world, postgres_url) as copy:
            lived, *_ = Child(children, run_outcome, copy, dies_before=n, prepare=count_changes).result()
            run_outcome(copy)
            assert found(copy) == undisturbed
        if lived:
            break
    assert n > 10
