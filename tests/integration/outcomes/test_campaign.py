"""A campaign that keeps the customers whom the model expected to leave must not look like a dead model."""

import csv
from datetime import date

import numpy as np
import pytest

from churn.outcomes.judgement_step import judge_outcomes
from churn.outcomes.standing import ALARMS
from churn.outcomes.verdict import MIN_ROWS
from churn.synthetic.generate import write_drops
from tests.conftest import database_copy, tracking
from tests.integration.conftest import Pipeline
from tests.integration.scored_chain import Lists
from tests.integration.training_chain import QUICK, Chain

JANUARY, FEBRUARY, MARCH, APRIL = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31), date(2024, 4, 30)
KEPT_DECILES = 3


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def judged(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """February is scored, its top deciles are contacted, and no treated customer of them leaves. March says so."""
    directory = tmp_path_factory.mktemp("campaign")
    landing = directory / "landing"
    write_drops(landing, customers=4000, months=4, seed=5, late_labels=1)
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory),
    ):
        lists = Lists(Chain(Pipeline(database_url, landing, directory / "archive")), directory / "scores")
        lists.chain.pipeline.serve(JANUARY)
        lists.chain(FEBRUARY, QUICK)
        lists.score(FEBRUARY)
        top = [row for row in lists.current(FEBRUARY) if row["decile"] <= KEPT_DECILES and row["arm"] == "treat"]
        kept = {row["user_id"] for row in top}
        labels = read(landing / str(MARCH) / "labels.csv")
        write(
            landing / str(MARCH) / "labels.csv",
            [row | {"churn_label": "False"} if row["user_id"] in kept else row for row in labels],
        )
        contacted = [row["user_id"] for row in top if row["decile"] == 1][::2]
        actions = [{"user_id": user, "action": "call", "as_of": str(FEBRUARY)} for user in contacted]
        write(landing / str(MARCH) / "actions.csv", actions)
        (landing / str(MARCH) / "manifest.json").unlink(missing_ok=True)
        lists.chain(MARCH, QUICK)
        lists.score(MARCH)
        judge_outcomes(MARCH, database_url)
        yield lists, contacted


def parts(lists, day, **wanted):
    found = lists.query("SELECT * FROM outcomes.current WHERE as_of = %s AND slice = 'all'", day)
    return [row for row in found if all(row[name] == value for name, value in wanted.items())]


def test_over_all_customers_the_version_looks_dead(judged):
    (row,) = parts(judged[0], FEBRUARY, arm="all", basis="out of time")
    assert row["verdict"] in ALARMS
    assert not row["decides"]


def test_the_control_arm_alone_decides_and_there_is_no_alarm(judged):
    (row,) = parts(judged[0], FEBRUARY, decides=True)
    assert (row["arm"], row["basis"], row["verdict"]) == ("control", "out of time", "as promised")
    assert row["rows"] >= MIN_ROWS
    (in_cohorts,) = parts(judged[0], FEBRUARY, arm="control", basis="gate and audit cohort")
    assert in_cohorts["rows"] < MIN_ROWS, "too few to decide, and no earlier list of the version to pool them with"


def test_the_effect_is_that_of_everybody_who_could_be_treated(judged):
    lists, contacted = judged
    (effect,) = lists.query("SELECT * FROM outcomes.effects WHERE as_of = %s", FEBRUARY)
    top = [row for row in lists.current(FEBRUARY) if row["decile"] == 1]
    assert effect["treat_rows"] == sum(row["arm"] == "treat" for row in top)
    assert effect["control_rows"] == sum(row["arm"] == "control" for row in top)
    assert (effect["contacted"], effect["control_contacted"]) == (len(contacted), 0)
    assert effect["treat_churned"] == 0
    assert effect["effect"] == pytest.approx(-effect["control_churned"] / effect["control_rows"])
    assert effect["effect_low"] < effect["effect"] < effect["effect_high"] < 0


def test_earlier_lists_of_a_version_are_pooled_until_there_are_enough_rows(judged):
    from churn.outcomes.judging import COHORTS, judge_rows
    from churn.outcomes.rows import list_rows
    from churn.postgres.database import connect
    from churn.registry.model_version import ModelVersion
    from churn.scores.run import current_run
    from churn.training.cohort import SALT

    lists, _ = judged
    with connect(lists.database_url) as connection:
        rows = list_rows(lists.database_url, current_run(connection, FEBRUARY), MARCH)
    version = ModelVersion(1, "a-run", "Production", {"cohort_salt": SALT, "learned_from": '["2024-02-29"]'})
    few = rows.take(np.arange(len(rows)) < 90)
    found = list(judge_rows(rows, version, FEBRUARY, None, lambda users: {}, earlier=iter([few, few, few])))
    (deciding,) = [part for part in found if part.decides]
    in_cohorts = next(part for part in found if part.arm == "control" and not part.decides)
    needed = -(-(MIN_ROWS - in_cohorts.performance.rows) // len(few))
    assert deciding.basis == f"{COHORTS} of {1 + needed} dates"
    assert deciding.performance.rows == in_cohorts.performance.rows + needed * len(few)


def test_actions_that_come_after_the_labels_are_judged_as_the_next_revision(judged):
    lists, _ = judged
    assert parts(lists, MARCH) == []
    landing = lists.chain.pipeline.landing
    users = [row["user_id"] for row in lists.current(FEBRUARY) if row["arm"] == "treat"][:5]
    write(
        landing / str(APRIL) / "actions.csv",
        [{"user_id": user, "action": "mail", "as_of": str(FEBRUARY)} for user in users],
    )
    (landing / str(APRIL) / "manifest.json").unlink(missing_ok=True)
    lists.chain(APRIL, QUICK)
    assert str(FEBRUARY) in judge_outcomes(APRIL, lists.database_url).figures["judged"]
    (effect,) = lists.query("SELECT * FROM outcomes.effects WHERE as_of = %s AND revision = 2", FEBRUARY)
    assert effect["contacted"] > 0
