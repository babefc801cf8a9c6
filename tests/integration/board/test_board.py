"""The data of the gate board, from a real database and a real MLflow."""

import json
import time
from datetime import date
from pathlib import Path

import mlflow
import psycopg
import pytest
from mlflow import MlflowClient

from churn.board import history as board
from churn.board import production as board_registry
from churn.drops.holds.record import record_hold
from churn.registry.model_version import MODEL_NAME
from churn.synthetic.generate import write_drops
from tests.board_decisions import a_decision, append_decisions
from tests.conftest import JANUARY
from tests.made_lists import write_list

MODEL = board_registry.MODEL_NAME


@pytest.fixture
def drops(tmp_path) -> Path:
    """One small drop, of January."""
    write_drops(tmp_path / "drops", customers=300, months=1, seed=1)
    return tmp_path / "drops"


def test_an_empty_database_has_no_decisions_and_no_dates(database_url):
    assert board.read_board(database_url) == board.Board(
        mark=board.read_mark(database_url), decision_count=0, decisions=[], moves=[], dates=[]
    )


def test_decisions_are_listed_newest_first_with_figures_and_total(database_url):
    ids = append_decisions(database_url, [a_decision(n) for n in range(5)])
    shown = board.read_board(database_url, decisions=3)
    assert [each.id for each in shown.decisions] == ids[:1:-1]
    assert shown.decision_count == 5
    newest = shown.decisions[0]
    assert (newest.outcome, newest.candidate_version, newest.production_version) == ("PROMOTE", 6, 5)
    assert (newest.candidate_auc_error, newest.production_auc_error) == (0.011, 0.012)


def test_a_figure_that_is_not_a_number_is_none(database_url):
    append_decisions(database_url, [a_decision(0, candidate_auc=float("nan"))])
    assert board.read_board(database_url).decisions[0].candidate_auc is None


def test_a_decision_opens_with_its_checks_and_an_unknown_one_is_none(database_url):
    (id_,) = append_decisions(database_url, [a_decision(3)])
    found = board.read_decision(database_url, id_)
    assert found is not None
    assert [check["outcome"] for check in found.report["checks"]].count("FAIL") == 1
    assert board.read_decision(database_url, id_ + 1) is None


def test_a_version_was_graded_as_candidate_and_then_as_production(database_url):
    append_decisions(database_url, [a_decision(0), a_decision(1)])
    assert [(each.graded_as, each.auc) for each in board.read_grades(database_url, 2, a_decision(0)["run_id"])] == [
        ("Production", 0.805),
        ("candidate", a_decision(0)["candidate_auc"]),
    ]


def test_the_grades_of_a_version_are_not_those_of_another_run_under_its_number(database_url):
    append_decisions(database_url, [a_decision(0), a_decision(0, run_id="another", candidate_auc=0.7)])
    assert [each.auc for each in board.read_grades(database_url, 2, "another")] == [0.7]


def test_the_mark_changes_with_a_decision_a_move_and_a_drop_and_with_nothing_else(pipeline_on, database_url, drops):
    marks = [board.read_mark(database_url), board.read_mark(database_url)]
    assert marks[0] == marks[1]
    append_decisions(database_url, [a_decision(0)])
    marks.append(board.read_mark(database_url))
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO gate.moves (kind, version, who, why) VALUES ('person', 1, 'ann', 'better')")
    marks.append(board.read_mark(database_url))
    pipeline_on(drops).snapshot(JANUARY)
    marks.append(board.read_mark(database_url))
    assert len(set(marks)) == 4


def test_a_date_shows_drop_snapshot_and_online_features_and_whether_they_are_current(pipeline_on, database_url, drops):
    pipeline_on(drops).serve(JANUARY)
    (before,) = board.read_board(database_url).dates
    assert (before.as_of, before.revision, before.rows, before.is_served) == (JANUARY, 1, 300, True)
    assert (before.snapshot_is_current, before.online_is_current) == (True, True)
    assert before.received_at <= before.snapshot_at <= before.online_at
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO raw.revisions (as_of, revision, validated_at, digest, code_digest, files) "
            "SELECT as_of, 2, now(), 'another', code_digest, files FROM raw.revisions"
        )
    (after,) = board.read_board(database_url).dates
    assert (after.revision, after.snapshot_is_current, after.online_is_current) == (2, False, False)


def test_a_date_shows_its_list_and_whether_it_is_of_the_current_snapshot(pipeline_on, database_url, drops, tmp_path):
    def shown():
        marks.append(board.read_mark(database_url))
        (date,) = board.read_board(database_url).dates
        return date.list_revision, date.list_version, date.list_is_current, date.scored_at is not None

    marks = []
    pipeline_on(drops).snapshot(JANUARY)
    assert shown() == (None, None, None, False)
    write_list(database_url, tmp_path / "scores", JANUARY, 7)
    assert shown() == (1, 7, True, True)
    write_list(database_url, tmp_path / "scores", JANUARY, 8)
    assert shown() == (2, 8, True, True)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE snapshots.builds SET drop_digest = 'another', built_at = now()")
    assert shown() == (2, 8, False, True)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE scores.runs SET withdrawn_at = now() WHERE revision = 2")
    assert shown() == (1, 7, False, True)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE scores.runs SET expired_at = now() WHERE revision = 1")
    assert shown() == (None, None, None, False)
    assert len(set(marks)) == len(marks)


def test_a_held_drop_is_among_the_dates_with_its_findings_and_changes_the_mark(database_url):
    before = board.read_mark(database_url)
    record_hold(database_url, JANUARY, ["the fee is in cents"], content="c", verdict="v", against=None)
    (shown,) = board.read_board(database_url).dates
    assert (shown.as_of, shown.revision, shown.findings) == (JANUARY, None, ["the fee is in cents"])
    assert shown.held_at is not None
    assert board.read_mark(database_url) != before


def test_a_thousand_decisions_with_their_reports_are_read_in_well_under_300_milliseconds(database_url):
    append_decisions(database_url, [a_decision(n) for n in range(1000)])
    board.read_board(database_url)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        shown = board.read_board(database_url)
        seconds.append(time.perf_counter() - started)
    assert len(shown.decisions) == 1000
    # The best of five: how busy the machine is, is not the board's doing.
    assert min(seconds) < 0.3, seconds


def test_with_no_model_nothing_is_in_production_and_nothing_pinned(mlflow_uri):
    assert board_registry.read_registry() == board_registry.Registry(None, None)


def test_production_is_shown_with_as_of_and_pin(mlflow_uri):
    client = MlflowClient()
    run = client.create_run(client.create_experiment("streamflow"))
    client.create_registered_model(MODEL)
    client.create_model_version(MODEL, "runs:/x/model", run.info.run_id, tags={"as_of": "2024-01-31"})
    assert board_registry.read_registry().production is None
    client.transition_model_version_stage(MODEL, "1", "Production")
    pin = {"version": 1, "who": "ann", "why": "the new one is wrong", "at": "2024-03-01T00:00:00+00:00"}
    client.set_registered_model_tag(MODEL, board_registry.PIN, json.dumps(pin))
    found = board_registry.read_registry()
    assert (found.production.version, found.production.as_of, found.pin) == (1, date(2024, 1, 31), pin)
    client.set_registered_model_tag(MODEL, board_registry.PIN, "typed by a person")
    assert board_registry.read_registry().pin == {"why": "typed by a person"}


def test_board_and_pipeline_use_the_same_model_name():
    assert MODEL_NAME == MODEL


@pytest.fixture
def run_id(mlflow_uri) -> str:
    """A run with a report and with unrelated files."""
    with mlflow.start_run() as run:
        for name in ("pictures/roc.svg", "report.html", "report.json", "secret.parquet", "pictures/deep/roc.svg"):
            mlflow.log_text(f"content of {name}", f"decisions/7/{name}")
        mlflow.log_text("of another", "decisions/71/report.html")
    return run.info.run_id


def test_only_pictures_and_report_of_a_decision_are_accessible(run_id):
    assert board_registry.report_files(run_id, 7) == ["pictures/roc.svg", "report.html"]
    assert board_registry.read_report_file(run_id, 7, "pictures/roc.svg") == b"content of pictures/roc.svg"
    assert board_registry.read_report_file(run_id, 71, "report.html") == b"of another"


@pytest.mark.parametrize(
    "path",
    [
        "report.json",
        "secret.parquet",
        "missing.svg",
        "../71/report.html",
        "pictures/../report.html",
        "pictures/deep/roc.svg",
        ".hidden.svg",
        "/report.html",
        "report.html\n",
        "",
    ],
)
def test_a_path_outside_the_report_is_rejected(run_id, path):
    with pytest.raises(board_registry.NotShown):
        board_registry.read_report_file(run_id, 7, path)


def test_a_run_without_a_report_has_no_files(mlflow_uri):
    with mlflow.start_run() as run:
        pass
    assert board_registry.report_files(run.info.run_id, 7) == []
