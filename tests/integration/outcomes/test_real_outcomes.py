"""The real drops: what January teaches says nothing about February, and the version that was answering is alarmed."""

import csv

import numpy as np
import psycopg
import pyarrow.parquet
import pytest
from mlflow import MlflowClient
from sklearn.metrics import brier_score_loss, precision_score, recall_score, roc_auc_score

from churn.outcomes.alarms import find_changes, record_alert
from churn.outcomes.judgement_step import judge_outcomes
from churn.registry import client as registry
from churn.training.cohort import cohorts
from tests.conftest import FEBRUARY, JANUARY, REAL_DROPS


@pytest.fixture(scope="module")
def judged(real):
    for day in (JANUARY, FEBRUARY):
        judge_outcomes(day, real.database_url)
    return real


def rows_of(lists, day, **wanted):
    found = lists.query("SELECT * FROM outcomes.current WHERE as_of = %s", day)
    wanted = {"arm": "all", "slice": "all", **wanted}
    return [row for row in found if all(row[name] == value for name, value in wanted.items())]


def test_the_version_that_answered_in_february_is_no_better_than_chance(judged):
    (row,) = rows_of(judged, FEBRUARY, source="answering")
    assert (row["model_version"], row["basis"], row["decides"]) == (1, "gate cohort", True)
    assert row["verdict"] == "no better than chance"
    assert [round(row[name], 3) for name in ("auc", "auc_low", "auc_high")] == [0.483, 0.448, 0.519]


def test_its_alert_is_sent_once_and_names_the_version_that_replaced_it(judged):
    production = registry.production(MlflowClient())
    (change,) = find_changes(judged.database_url, production)
    assert change.title == "model version 1 is no better than chance"
    assert "0.483 (0.448 to 0.519)" in change.text
    assert f"now version {production.version} is in Production" in change.text
    record_alert(judged.database_url, change)
    assert find_changes(judged.database_url, production) == []


@pytest.mark.parametrize("day", [JANUARY, FEBRUARY])
@pytest.mark.parametrize("arm", ["all", "control"])
def test_the_figures_of_the_list_are_those_of_the_csv_and_parquet_files_alone(judged, day, arm):
    with (REAL_DROPS / str(day) / "labels.csv").open(newline="") as file:
        labels = {
            row["user_id"]: row["churn_label"].lower() in ("true", "1", "t", "yes") for row in csv.DictReader(file)
        }
    rows = pyarrow.parquet.read_table(judged.folder(day, 1) / "scores.parquet").to_pylist()
    users = [row["user_id"] for row in rows]
    gate, audit = cohorts(users)
    kept = [
        row for row, new in zip(rows, gate | audit, strict=True)
        if new and row["user_id"] in labels and arm in ("all", row["arm"])
    ]  # fmt: skip
    truth = np.array([labels[row["user_id"]] for row in kept])
    scores = np.array([row["churn_probability"] for row in kept])
    said = np.array([row["prediction"] == 1 for row in kept])
    top = np.array([row["decile"] == 1 for row in kept])
    (found,) = rows_of(judged, day, source="list", basis="gate and audit cohort", arm=arm)
    expected = {
        "rows": len(kept),
        "churned": truth.sum(),
        "auc": roc_auc_score(truth, scores),
        "brier": brier_score_loss(truth, scores),
        "precision": precision_score(truth, said),
        "recall": recall_score(truth, said),
        "mean_probability": scores.mean(),
        "churn_rate": truth.mean(),
        "lift": truth[top].mean() / truth.mean(),
        "capture": truth[top].sum() / truth.sum(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_slices_are_those_of_the_gate_and_never_decide(judged):
    found = judged.query(
        "SELECT slice, decides, rows FROM outcomes.current WHERE as_of = %s AND source = 'list' AND slice <> 'all'",
        FEBRUARY,
    )
    assert {"senior", "not senior", "tenure below 12 months", "net service No"} <= {row["slice"] for row in found}
    assert not any(row["decides"] for row in found)
    senior = sum(row["rows"] for row in found if row["slice"] in ("senior", "not senior"))
    assert senior == rows_of(judged, FEBRUARY, source="list", basis="gate and audit cohort")[0]["rows"]


def test_judging_again_is_unchanged(judged):
    assert judge_outcomes(FEBRUARY, judged.database_url).outcome == "UNCHANGED"


def test_the_verdict_on_the_version_that_answered_stays_where_a_later_drop_judges_the_date_without_it(judged):
    alarm = "SELECT verdict, as_of FROM outcomes.verdicts WHERE model_version = 1"
    (before,) = judged.query(alarm)
    assert before == {"verdict": "no better than chance", "as_of": FEBRUARY}
    with psycopg.connect(judged.database_url) as connection:
        # As known at a later drop, when another version was answering.
        connection.execute(
            """
            INSERT INTO outcomes.judgements
            SELECT
                as_of, revision + 1, known_as_of + 31, list_revision, list_version, NULL, NULL, labelled_by, treated_by,
                label_days, code_digest
            FROM outcomes.current_judgements WHERE as_of = %s
            """,
            [FEBRUARY],
        )
        assert connection.execute(alarm).fetchall() == [("no better than chance", FEBRUARY)]
        connection.rollback()


def test_a_version_that_learned_from_a_later_date_is_not_judged_by_changed_labels_of_an_earlier_one(judged):
    """February's version never answered for January."""
    with psycopg.connect(judged.database_url) as connection:
        connection.execute("UPDATE outcomes.judgements SET withdrawn_at = now() WHERE as_of = %s", [JANUARY])
        # The drop of February says something about January.
        connection.execute(
            "INSERT INTO snapshots.labels_snapshots SELECT user_id, %s, %s, NOT churn_label "
            "FROM snapshots.labels_snapshots WHERE as_of = %s LIMIT 5",
            [JANUARY, FEBRUARY, JANUARY],
        )
        connection.execute(
            "UPDATE snapshots.builds SET label_dates = label_dates || %s::date WHERE as_of = %s", [JANUARY, FEBRUARY]
        )
    assert str(JANUARY) in judge_outcomes(FEBRUARY, judged.database_url).figures["judged"]
    assert {row["model_version"] for row in rows_of(judged, JANUARY)} == {1}
