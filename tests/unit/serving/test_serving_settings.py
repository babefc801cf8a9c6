import traceback

import pytest

from serving.settings import Settings, SettingsError, from_environment

REQUIRED = {"CHURN_DATABASE_URL": "postgresql:///churn", "MLFLOW_TRACKING_URI": "http://127.0.0.1:5001"}


def test_a_setting_that_is_not_given_has_its_default():
    assert from_environment(REQUIRED) == Settings(*REQUIRED.values())


def test_an_empty_setting_has_its_default():
    assert from_environment(REQUIRED | {"SERVING_MAX_FEATURES_AGE_DAYS": ""}).max_features_age_days is None


def test_each_setting_is_read():
    given = {
        "SERVING_POLL_SECONDS": "0.5",
        "SERVING_MAX_FEATURES_AGE_DAYS": "3",
        "SERVING_MAX_BODY_BYTES": "100",
    }
    read = from_environment(REQUIRED | given)
    assert (read.poll_seconds, read.max_features_age_days, read.max_body_bytes) == (0.5, 3, 100)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_address_is_named(name):
    with pytest.raises(SettingsError, match=name):
        from_environment({key: value for key, value in REQUIRED.items() if key != name})


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_number_that_makes_no_sense_is_refused_with_its_value(text):
    with pytest.raises(SettingsError, match=text):
        from_environment(REQUIRED | {"SERVING_POLL_SECONDS": text})


def test_half_a_byte_or_day_is_refused():
    with pytest.raises(SettingsError, match=r"SERVING_MAX_WAITING must be a whole number above 0, got '0\.5'"):
        from_environment(REQUIRED | {"SERVING_MAX_WAITING": "0.5"})


@pytest.mark.parametrize("url", ["redis//x", "http://x", "redis://:marker/x@host:6379", "redis://host:99999"])
def test_what_is_no_url_of_a_redis_is_refused_and_not_quoted(url):
    with pytest.raises(SettingsError, match="CHURN_REDIS_URL is not a URL like") as error:
        from_environment(REQUIRED | {"CHURN_REDIS_URL": url})
    assert url not in str(error.value)
    assert "marker" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("url", ["redis://:secret@host:6379/0", "rediss://host", "unix:///run/redis.sock?db=1"])
def test_the_url_of_a_redis_is_taken(url):
    assert from_environment(REQUIRED | {"CHURN_REDIS_URL": url}) == Settings(*REQUIRED.values())
