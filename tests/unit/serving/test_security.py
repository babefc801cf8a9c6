"""API keys: off by default, several at once, and nothing about customers without one of them."""

import subprocess
import sys

import pytest

from serving.app import create_app
from serving.keys import digest_of
from serving.settings import Settings, SettingsError, from_environment
from tests.conftest import REPOSITORY

OLD, NEW = "an-old-key", "a-new-key"
NEEDED = {"CHURN_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/churn", "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}


@pytest.fixture(scope="module")
def client():
    settings = Settings(
        database_url=NEEDED["CHURN_DATABASE_URL"],
        tracking_uri=NEEDED["MLFLOW_TRACKING_URI"],
        api_key_digests=(digest_of(OLD), digest_of(NEW)),
    )
    return create_app(settings).test_client()


def ask(client, path, authorization=None):
    headers = {"Authorization": authorization} if authorization else {}
    body = {"json": {"user_id": "a", "user_ids": ["a"]}} if path.startswith("/predict") else {}
    return client.open(path, method="POST" if body else "GET", headers=headers, **body)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/features/a"])
@pytest.mark.parametrize(
    "authorization", [None, "Bearer another", "Bearer ", f"Basic {NEW}", f"Bearer {digest_of(NEW)}"]
)
def test_without_a_key_nothing_is_said_of_a_customer(client, path, authorization):
    answer = ask(client, path, authorization)
    assert (answer.status_code, answer.get_json(force=True)["type"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("key", [OLD, NEW])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/features/a"])
def test_each_of_the_configured_keys_is_good(client, path, key):
    assert ask(client, path, f"Bearer {key}").status_code == 503


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/health", "/metrics"])
def test_what_is_not_about_customers_needs_no_key(client, path):
    assert ask(client, path).status_code == 200


def test_keys_are_configured_by_their_digests():
    digests = [digest_of(OLD), digest_of(NEW)]
    found = from_environment(NEEDED | {"SERVING_API_KEY_DIGESTS": f"{digests[0]}, {digests[1]}"})
    assert found.api_key_digests == tuple(digests)


def test_a_key_in_the_place_of_its_digest_is_refused_and_not_shown():
    with pytest.raises(SettingsError, match=r"serving\.keys") as caught:
        from_environment(NEEDED | {"SERVING_API_KEY_DIGESTS": OLD})
    assert OLD not in str(caught.value)


def test_the_digest_of_an_empty_key_is_refused():
    with pytest.raises(SettingsError, match="SERVING_API_KEY_DIGESTS holds the sha256 of an empty key"):
        from_environment(NEEDED | {"SERVING_API_KEY_DIGESTS": f"{digest_of(NEW)} {digest_of('')}"})


@pytest.mark.parametrize("authorization", [None, "Bearer ", "Basic "])
def test_no_key_is_not_good_where_its_digest_is_configured(authorization):
    settings = Settings(NEEDED["CHURN_DATABASE_URL"], NEEDED["MLFLOW_TRACKING_URI"], api_key_digests=(digest_of(""),))
    assert ask(create_app(settings).test_client(), "/predict", authorization).status_code == 401


def test_the_command_makes_a_key_and_its_digest():
    command = [sys.executable, "-m", "serving.keys"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    key, digest = (line.rpartition(": ")[2] for line in done.stdout.splitlines())
    assert digest_of(key) == digest
    assert len(key) > 40
