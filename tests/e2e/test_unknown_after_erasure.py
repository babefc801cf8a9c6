"""`make erase` on the running stack. Last in the folder: other tests count customers."""

import csv
import json

import psycopg
import pytest

from churn.postgres.database_url import url_on
from tests.e2e.stack import FEBRUARY, MARCH
from tests.integration.erasure.erased_chain import contents, tables_with
from tests.patience import wait_for


@pytest.fixture(scope="module")
def customer(stack) -> str:
    """A customer of every drop whom the API has answered about."""
    found = [
        {row["user_id"] for row in csv.DictReader((stack.drops / as_of / "users.csv").open())}
        for as_of in (FEBRUARY, MARCH)
    ]
    user = sorted(set.intersection(*found))[7]
    assert stack.predict(user).status_code == 200
    return user


@pytest.fixture(scope="module")
def held(stack, customer) -> dict:
    return json.loads(stack.make("customer", f"USER={customer}").stdout)


@pytest.fixture(scope="module")
def erased(stack, customer, held) -> str:
    """What make erase prints."""
    done = stack.make("erase", f"USER={customer}", "WHY=letter of May")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_make_customer_shows_what_is_held_of_one(held):
    assert min(len(held[place]) for place in ("archive", "landing directory", "models")) > 0
    tables = {"raw.users", "snapshots.labels_snapshots", "scores.customers", "predictions.answered"}
    assert tables <= {*held["database"]}


def test_the_report_names_every_place(erased):
    for place in ("archive", "landing directory", "files of the lists", "MLflow: training sets", "log files"):
        assert place in erased
    assert "each has the tag trained_on_erased" in erased


def test_the_service_answers_unknown_user(stack, erased, customer):
    answer = stack.predict(customer)
    assert (answer.status_code, answer.json()["type"]) == (404, "unknown-user")


def test_no_file_and_no_table_holds_the_customer(stack, erased, customer, homes):
    home, user = homes / "first", customer.encode()
    assert [name for name, content in contents(home, without="postgres/pg_wal/") if user in content] == []
    for database in ("airflow", "churn", "mlflow"):
        assert tables_with(url_on(stack.settings["CHURN_DATABASE_URL"], database), customer) == []
    assert json.loads(stack.make("customer", f"USER={customer}").stdout)["erased"]["why"] == "letter of May"


def test_a_training_without_the_customer_starts(stack, erased):
    with psycopg.connect(stack.settings["CHURN_DATABASE_URL"]) as connection:
        (request,) = connection.execute("SELECT request FROM erasure.requests").fetchone()
    path = f"/dags/churn_train/dagRuns/erase__{request}"
    wait_for(lambda: stack.airflow("GET", path)["state"] == "success", seconds=300)
