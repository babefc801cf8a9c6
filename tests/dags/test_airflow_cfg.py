"""containers/airflow/airflow.cfg agrees with Airflow's options and with the DAGs."""

import configparser
from pathlib import Path

import pytest
from airflow.configuration import conf

from run import DEFAULT_ARGS

FILE = Path(__file__).parents[2] / "containers" / "airflow" / "airflow.cfg"


@pytest.fixture(scope="module")
def options() -> dict[str, dict[str, str]]:
    config = configparser.ConfigParser()
    config.read(FILE)
    return {section: dict(config[section]) for section in config.sections()}


def test_every_option_is_one_that_airflow_knows(options):
    known = {section: set(found["options"]) for section, found in conf.configuration_description.items()}
    # Celery's own, which Airflow hands on to the broker.
    known["celery_broker_transport_options"] |= {"visibility_timeout"}
    assert {section: set(found) - known[section] for section, found in options.items()} == {
        section: set() for section in options
    }


def test_redis_redelivers_no_task_that_can_still_run(options):
    longest = DEFAULT_ARGS["execution_timeout"].total_seconds()
    assert float(options["celery_broker_transport_options"]["visibility_timeout"]) > longest


def test_token_and_session_of_a_login_expire_together(options):
    token, session = options["api_auth"]["jwt_expiration_time"], options["fab"]["session_lifetime_minutes"]
    assert int(token) == 60 * int(session)


def test_no_secret_and_no_address_is_in_the_file(options):
    written = {name: value for section in options.values() for name, value in section.items()}
    assert not any(word in name for name in written for word in ("secret", "password", "key", "conn"))
    assert not any("://" in value for value in written.values())
