"""No message contains the password of a database URL, whether the server is down or the URL is wrong."""

import logging
import traceback

import pytest

from churn.features.store import open_store
from churn.postgres.database import connect
from churn.postgres.database_url import BadDatabaseUrl, parts_of
from embedded.settings import SettingsError, load_settings
from serving.settings import Settings, from_environment
from serving.settings import SettingsError as ServingSettingsError

PASSWORD = "hunter2-marker"
AWAY = f"postgresql://ada:{PASSWORD}@127.0.0.1:9/churn"
WRONG = {
    "one slash": f"postgresql:/ada:{PASSWORD}@db/churn",
    "an @ in the password": f"postgresql://ada:x@{PASSWORD}@db/churn",
    "a % in the password": f"postgresql://ada:%zz{PASSWORD}@db/churn",
    "a / in the password": f"postgresql://ada:x/{PASSWORD}@db/churn",
    "two ports": f"postgresql://ada:{PASSWORD}@a:1,b:2/churn",
}


def adbc(url):
    from adbc_driver_postgresql import dbapi

    dbapi.connect(url)


@pytest.mark.parametrize(
    "ask", [connect, lambda url: open_store(url).list_feature_services(), adbc],
    ids=["psycopg", "Feast and SQLAlchemy", "ADBC"],
)  # fmt: skip
def test_errors_and_logs_of_an_unreachable_server_have_no_password(ask, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Exception) as error:  # noqa: PT011 — each client has its own
        ask(AWAY)
    said = "".join(traceback.format_exception(error.value)) + caplog.text
    assert "127.0.0.1" in said
    assert PASSWORD not in said


@pytest.mark.parametrize("url", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("take", [parts_of, connect, open_store])
def test_an_invalid_address_is_refused_and_not_quoted(take, url):
    with pytest.raises(BadDatabaseUrl, match="not a libpq URI") as error:
        take(url)
    assert PASSWORD not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("url", WRONG.values(), ids=WRONG)
def test_settings_name_the_invalid_variable_without_quoting_it(url):
    with pytest.raises(SettingsError, match="CHURN_POSTGRES is not a libpq URI") as embedded:
        load_settings({"CHURN_POSTGRES": url})
    given = {"CHURN_DATABASE_URL": AWAY, "SERVING_DATABASE_URL": url, "MLFLOW_TRACKING_URI": "http://mlflow"}
    with pytest.raises(ServingSettingsError, match="SERVING_DATABASE_URL") as serving:
        from_environment(given)
    for error in (embedded, serving):
        assert PASSWORD not in "".join(traceback.format_exception(error.value))


def test_a_login_in_the_address_of_mlflow_is_refused_and_not_quoted():
    given = {"CHURN_DATABASE_URL": AWAY, "MLFLOW_TRACKING_URI": f"http://ada:{PASSWORD}@mlflow:5000"}
    with pytest.raises(ServingSettingsError, match="MLFLOW_TRACKING_USERNAME") as error:
        from_environment(given)
    assert PASSWORD not in str(error.value)


def test_printed_settings_show_no_address():
    assert PASSWORD not in repr(Settings(AWAY, AWAY)) + repr(load_settings({"CHURN_POSTGRES": AWAY}))
