"""The report of a request, and what must follow for models."""

from datetime import UTC, datetime, timedelta

import pytest

from churn.erasure.replacement import Replacement, find_replacement, next_training
from churn.erasure.report import report_of
from churn.erasure.request import ERASED, REFUSED, bury, end, open_request, record_place, required_directory, write_ids
from churn.postgres.database import connect
from churn.registry.model_version import ModelVersion

IDS = ("7892-POOKP", "0280-XJGEX")


@pytest.fixture
def request_name(database_url, tmp_path, monkeypatch):
    """A request on record, of two customers."""
    monkeypatch.setenv("CHURN_ERASURE_DIR", str(tmp_path / "erasure"))
    name = write_ids(IDS, required_directory())
    open_request(name, "ada", "asked by letter", database_url)
    return name


def affect(database_url, request_name, version, run_id, days_ago=0, learned=True):
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO erasure.versions (version, run_id, request, learned, erased_at) VALUES (%s, %s, %s, %s, %s)",
            (version, run_id, request_name, learned, datetime.now(UTC) - timedelta(days=days_ago)),
        )


def test_the_report_has_a_row_for_each_place_and_says_where_nothing_was_found(database_url, request_name):
    bury(request_name, database_url, "bob")
    for place, figures in {
        "archive": {"looked_at": 30, "rewritten": 8, "rows": 16},
        "log files": {"looked_at": 12, "rewritten": 0, "rows": 0},
        "table raw.users": {"looked_at": 1, "rewritten": 0, "rows": 0},
        "table raw.users_2024_02": {"looked_at": 1, "rewritten": 1, "rows": 2},
    }.items():
        with connect(database_url) as connection:
            record_place(connection, request_name, place, **figures)
    end(request_name, ERASED, database_url)
    head, places, versions = report_of(request_name, database_url).split("\n\n")
    assert head.startswith(f"request {request_name}: 2 customers\nasked by ada at ")
    assert ", approved by bob\nwhy: asked by letter\nresult: erased at " in head
    assert places.splitlines() == [
        "| place                   | looked at | rewritten | rows removed  |",
        "| ----------------------- | --------- | --------- | ------------- |",
        "| archive                 | 30        | 8         | 16            |",
        "| log files               | 12        | 0         | nothing found |",
        "| table raw.users_2024_02 | 1         | 1         | 2             |",
    ]
    assert versions == "no version was trained on them"


def test_the_report_names_versions_and_never_an_id(database_url, request_name):
    bury(request_name, database_url)
    affect(database_url, request_name, 5, "b")
    affect(database_url, request_name, 3, "a")
    affect(database_url, request_name, 4, "graded on them", learned=False)
    report = report_of(request_name, database_url)
    assert "result: not ended" in report
    assert report.endswith("versions trained on them: 3, 5; each has the tag trained_on_erased")
    assert not [each for each in IDS if each in report]


def test_the_report_of_a_refusal_says_so(database_url, request_name):
    end(request_name, REFUSED, database_url)
    report = report_of(request_name, database_url)
    assert "result: refused at " in report
    assert "check the ids" not in report


def test_the_report_of_ids_that_are_in_no_place_ends_with_the_advice_to_check_them(database_url, request_name):
    bury(request_name, database_url)
    with connect(database_url) as connection:
        record_place(connection, request_name, "archive", looked_at=30, rewritten=0, rows=0)
    assert "check the ids" not in report_of(request_name, database_url)
    end(request_name, ERASED, database_url)
    assert report_of(request_name, database_url).endswith("\n\nnothing was found anywhere: check the ids")


def test_an_unknown_request_removed_nothing(database_url):
    assert report_of("0" * 32, database_url).endswith("is not on record: nothing was removed")


@pytest.fixture
def production(monkeypatch, mlflow_uri):
    """Version 3 of run `a` is in Production. A client alone would make MLflow's default database where tests run."""
    version = ModelVersion(3, "a", "Production", {})
    monkeypatch.setattr("churn.erasure.replacement.find_production", lambda _: version)


def test_production_is_replaced_within_days_of_the_first_erasure(database_url, request_name, production, monkeypatch):
    monkeypatch.setenv("CHURN_REPLACE_DAYS", "7")
    affect(database_url, request_name, 3, "a", days_ago=2)
    due = (datetime.now(UTC) - timedelta(days=2)).date() + timedelta(days=7)
    assert find_replacement(database_url) == Replacement(3, due)


def test_production_that_was_only_graded_on_the_erased_need_not_be_replaced(database_url, request_name, production):
    affect(database_url, request_name, 3, "a", learned=False)
    assert find_replacement(database_url) is None
    assert next_training(request_name, database_url) == (None, [])


def test_production_of_another_run_with_the_same_number_is_not_affected(database_url, request_name, production):
    affect(database_url, request_name, 3, "of another registry")
    affect(database_url, request_name, 4, "b")
    assert find_replacement(database_url) is None


def test_the_training_that_follows_is_of_the_versions_of_the_request(database_url, request_name):
    affect(database_url, request_name, 3, "a")
    assert next_training(request_name, database_url) == (None, [3])
    assert next_training("0" * 32, database_url) == (None, [])
