"""The routes of the page "Health": rights, refusals, and the JSON over fabricated judgements."""

from datetime import date, timedelta

import pytest

from churn.board.health import WAITING
from churn.board.production import Registry
from churn.registry.model_version import ModelVersion
from tests.conftest import FEBRUARY, JANUARY
from tests.dags.page_app import page_app
from tests.made_lists import insert_list
from tests.made_outcomes import (
    COHORTS,
    OUT_OF_TIME,
    figures,
    insert_effect,
    insert_expected,
    insert_judgement,
    withdraw_judgements,
)

MARCH = date(2024, 3, 31)
PATHS = ("/health", "/static/health.js", "/api/health", "/api/health/2024-01-31")


@pytest.fixture
def url(database_url, monkeypatch):
    """January, whose labels February brought; version 1 is in Production."""
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", database_url)
    page_app("VIEWER")
    from gate_board import sources

    production = ModelVersion(1, "run-1", "Production", {"as_of": "2023-12-31"})
    monkeypatch.setattr(sources, "registry", lambda: Registry(production, None))
    return database_url


def client(role: str = "VIEWER"):
    from fastapi.testclient import TestClient

    return TestClient(page_app(role))


def health(path: str = ""):
    answer = client().get(f"/api/health{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("path", PATHS)
def test_every_route_requires_a_session(url, path):
    asking = client()
    asking.app.dependency_overrides.clear()
    assert asking.get(path).status_code == 401
    assert asking.get(path, headers={"Authorization": "Bearer made.up"}).status_code == 403


@pytest.mark.parametrize("role", ["VIEWER", "USER", "OP", "ADMIN"])
def test_every_role_sees_the_page(url, role):
    insert_judgement(url, JANUARY, FEBRUARY, [figures(0.8)])
    assert [client(role).get(path).status_code for path in PATHS] == [200] * len(PATHS)


def test_before_the_first_judgement_there_is_none(url):
    found = health()
    assert (found["dates"], found["versions"], found["verdict"]) == ([], [], None)
    assert found["production"] == {"version": 1, "run_id": "run-1", "as_of": "2023-12-31"}
    assert found["floor"] == 0.55
    assert found["drift"] == {"compared": None, "findings": []}


def test_a_date_is_answered_with_its_figures_and_the_verdict_with_advice(url):
    decides = figures(0.48, verdict="no better than chance")
    insert_judgement(url, JANUARY, FEBRUARY, [
        figures(0.49, basis=OUT_OF_TIME, decides=False), figures(0.5, arm="control", decides=False), decides,
    ])  # fmt: skip
    found = health()
    (day,) = found["dates"]
    assert (day["as_of"], day["known_as_of"], day["revision"], day["revisions"], day["expected"]) == (
        "2024-01-31", "2024-02-29", 1, 1, None,
    )  # fmt: skip
    assert [(row["basis"], row["arm"]) for row in day["figures"]] == [(COHORTS, "all"), (OUT_OF_TIME, "all")]
    unnamed = {"auc_error", "promised_error"}
    assert {name: day["figures"][0][name] for name in decides.keys() - unnamed} == {
        name: value for name, value in decides.items() if name not in unnamed
    }
    assert (found["verdict"]["verdict"], found["verdict"]["is_alarm"]) == ("no better than chance", True)
    assert found["verdict"]["advice"].startswith("do not use its list")


def test_the_verdict_is_that_of_the_version_and_run_in_production(url):
    insert_judgement(url, JANUARY, FEBRUARY, [
        figures(0.48, verdict="no better than chance", model_run_id="of a deleted registry"),
        figures(0.7, verdict="worse than promised", model_version=2),
    ])  # fmt: skip
    found = health()
    assert found["verdict"] is None
    assert [(each["model_version"], each["in_production"]) for each in found["versions"]] == [(2, False), (1, False)]


def test_without_mlflow_the_figures_are_answered_and_the_problem_is_named(url, monkeypatch):
    from gate_board import sources

    insert_judgement(url, JANUARY, FEBRUARY, [figures(0.8)])
    monkeypatch.setattr(sources, "registry", lambda: "MLflow cannot be read")
    found = health()
    assert (found["registry_problem"], found["production"], found["verdict"]) == ("MLflow cannot be read", None, None)
    assert len(found["dates"][0]["figures"]) == 1


def test_a_judgement_again_replaces_the_figures_and_keeps_the_earlier_one(url):
    insert_judgement(url, JANUARY, FEBRUARY, [figures(0.8)])
    insert_judgement(url, JANUARY, MARCH, [figures(0.7, verdict="worse than promised")])
    assert [row["auc"] for row in health()["dates"][0]["figures"]] == [0.7]
    newest, first = health("/2024-01-31")["revisions"]
    assert (newest["is_current"], newest["changes"]) == (True, ["labels of the drop of 2024-02-29, 2024-03-31"])
    assert (first["is_current"], first["changes"], first["figures"][0]["verdict"]) == (False, [], "as promised")


def test_a_withdrawn_judgement_is_no_longer_shown_but_listed(url):
    insert_judgement(url, JANUARY, FEBRUARY, [figures(0.8)])
    withdraw_judgements(url, FEBRUARY)
    (day,) = health()["dates"]
    assert (day["revision"], day["figures"], day["revisions"]) == (None, [], 1)
    (revision,) = health("/2024-01-31")["revisions"]
    assert revision["withdrawn_at"] is not None
    assert (revision["is_current"], len(revision["figures"])) == (False, 1)


def test_arms_and_slices_are_in_the_answer_of_the_date(url):
    insert_judgement(url, JANUARY, FEBRUARY, [
        figures(0.8), figures(0.79, arm="control", decides=False), figures(0.81, slice="senior", decides=False),
    ])  # fmt: skip
    found = health("/2024-01-31")["parts"]
    assert [(row["arm"], row["slice"], row["auc"]) for row in found] == [
        ("control", "all", 0.79),
        ("all", "senior", 0.81),
    ]


def test_after_a_campaign_the_control_arm_that_decides_comes_first(url):
    insert_list(url, JANUARY, 20)
    insert_expected(url, JANUARY, 0.8)
    revision = insert_judgement(url, JANUARY, FEBRUARY, [
        figures(0.6, decides=False),
        figures(0.79, arm="control", basis=f"{COHORTS} of 3 dates"),
        figures(0.58, arm="treat", decides=False),
    ])  # fmt: skip
    insert_effect(url, JANUARY, revision, -0.2)
    found = health()
    assert [(row["arm"], row["decides"]) for row in found["dates"][0]["figures"]] == [("control", True), ("all", False)]
    assert (found["verdict"]["arm"], found["verdict"]["basis"]) == ("control", f"{COHORTS} of 3 dates")
    assert found["dates"][0]["expected"]["basis"] == COHORTS
    detail = health("/2024-01-31")
    assert [row["arm"] for row in detail["parts"]] == ["treat"]
    assert (detail["effect"]["effect"], detail["effect"]["contacted"]) == (-0.2, 90)


def test_a_list_without_labels_is_answered_with_what_is_expected(url):
    insert_list(url, FEBRUARY, 20)
    insert_expected(url, FEBRUARY, 0.79)
    (day,) = health()["dates"]
    assert (day["as_of"], day["revision"], day["figures"]) == ("2024-02-29", None, [])
    assert (day["expected"]["auc"], day["expected"]["believed"]) == (0.79, True)
    assert "no expectation could be held against labels yet" in day["expected"]["why"]


def test_an_expectation_is_believed_as_the_one_before_it_came_out(url):
    for day, realized in ((JANUARY, 0.8), (FEBRUARY, 0.6), (MARCH, 0.6)):
        insert_list(url, day, 20)
        insert_expected(url, day, 0.8)
        if day != MARCH:
            insert_judgement(url, day, MARCH, [figures(realized)])
    believed = {day["as_of"]: day["expected"]["believed"] for day in health()["dates"]}
    assert believed == {"2024-03-31": False, "2024-02-29": True, "2024-01-31": True}


def test_lists_that_wait_for_labels_do_not_displace_judged_dates(url):
    insert_judgement(url, JANUARY, FEBRUARY, [figures(0.8)])
    days = [JANUARY + timedelta(days=number) for number in range(1, 21)]
    for day in days:
        insert_list(url, day, 1)
        insert_expected(url, day, 0.8)
    found = [date.fromisoformat(day["as_of"]) for day in health("?limit=2")["dates"]]
    assert found == [*days[: -WAITING - 1 : -1], JANUARY]


def test_the_newest_dates_are_answered(url):
    for day in (JANUARY, FEBRUARY, MARCH):
        insert_judgement(url, day, MARCH, [figures(0.8)])
    assert [day["as_of"] for day in health("?limit=2")["dates"]] == ["2024-03-31", "2024-02-29"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/2024-01-30", 404), ("/yesterday", 422), ("?limit=0", 422), ("?limit=100000", 422)],
)
def test_a_date_or_a_value_that_does_not_exist_is_refused(url, path, status):
    assert client().get(f"/api/health{path}").status_code == status


def test_an_unreachable_database_is_a_503(url, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", "postgresql://nobody@127.0.0.1:1/churn")
    for path in PATHS[2:]:
        answer = client().get(path)
        assert answer.status_code == 503
        assert "the database `churn` cannot be read" in answer.json()["detail"]
