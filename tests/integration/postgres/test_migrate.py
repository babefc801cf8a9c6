"""Missing migrations, as `make doctor` and waiting container workers find them."""

import pytest
from psycopg import sql

from churn.postgres.database import connect
from churn.postgres.migrate import MigrationError, find_missing, migrate
from containers.airflow.start import why_not_ready
from tests.database_dump import dump


def forget(database_url, name):
    """Delete the record of this migration."""
    with connect(database_url) as connection:
        assert connection.execute("DELETE FROM churn_migrations WHERE name = %s", [name]).rowcount == 1


def test_a_migrated_database_misses_no_migration(database_url):
    assert find_missing(database_url) == []


def test_an_unmigrated_database_misses_all_migrations_and_is_unchanged(postgres_url):
    with connect(postgres_url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE never_migrated")
    url = postgres_url("never_migrated")
    missing = find_missing(url)
    assert missing[0] == "0001_schemas"
    assert dump(url) == {}
    assert migrate(url) == missing
    assert find_missing(url) == []


def test_missing_migrations_are_listed_in_order(database_url):
    for name in ("0007_predictions", "0006_moves"):
        forget(database_url, name)
    assert find_missing(database_url) == ["0006_moves", "0007_predictions"]


@pytest.mark.parametrize("change", ["sha256 = 'another'", "name = 'of_another_branch'"], ids=["changed", "unknown"])
def test_a_differing_history_is_an_error_that_names_the_migration(database_url, change):
    with connect(database_url) as connection:
        connection.execute(sql.SQL("UPDATE churn_migrations SET " + change + " WHERE name = '0006_moves'"))
    with pytest.raises(MigrationError, match=r"migration (0006_moves|of_another_branch) was applied"):
        find_missing(database_url)


def test_a_container_worker_waits_for_missing_migrations(database_url, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", database_url)
    assert why_not_ready("churn-migrations") is None
    forget(database_url, "0007_predictions")
    assert why_not_ready("churn-migrations") == "not applied yet: 0007_predictions"


def test_a_worker_whose_image_is_older_than_the_database_says_so(database_url, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", database_url)
    with connect(database_url) as connection:
        connection.execute("UPDATE churn_migrations SET name = 'of_a_later_image' WHERE name = '0007_predictions'")
    assert "of_a_later_image" in str(why_not_ready("churn-migrations"))


def test_a_worker_waits_for_a_database_that_does_not_answer(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", "postgresql://a:hidden@127.0.0.1:1/churn")
    assert "hidden" not in (trouble := str(why_not_ready("churn-migrations")))
    assert "refused" in trouble
