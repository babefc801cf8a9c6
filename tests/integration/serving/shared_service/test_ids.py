"""An id with any character that a drop may hold is the same customer by every route."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from embedded.commands.prediction import predict as ask_by_command
from embedded.settings import load_settings
from tests.conftest import THOROUGH
from tests.integration.serving.shared_service.asking import answers, eventually, free_port, gunicorn, registry_at

VIEWS = ("subs_profile_fv", "usage_agg_30d_fv", "payments_agg_90d_fv", "support_agg_90d_fv")

# Control characters, invisible ones and line separators are refused by the contract, and so are outer blanks.
IDS = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Zs"]) | st.sampled_from(" /%?#+.;&=\\"),
    min_size=1,
    max_size=256,
).filter(lambda user_id: user_id == user_id.strip())

ODD = [
    "/", "//", "/a", "a/", "a//b", "..", ".", "a/../b", "/../../etc", "%", "%2F", "%00", "a?b=c#d", "#", "a+b", "a b",
    "A$B", "'\"\\`", "a;b&c", "<b>", "é", "e\N{COMBINING ACUTE ACCENT}", "客户-7", "\N{BROKEN HEART}", "x" * 256,
    "\N{BROKEN HEART}" * 256, "predict", "health/ready",
]  # fmt: skip


@pytest.fixture
def renamed(database_url, customers):
    """Serve a customer's features under another id, for the time of a block."""

    @contextmanager
    def under(user_id: str) -> Iterator[None]:
        with psycopg.connect(database_url, autocommit=True) as connection:
            for view in VIEWS:
                change(connection, view, customers.index[0], user_id)
            try:
                yield
            finally:
                for view in VIEWS:
                    change(connection, view, user_id, customers.index[0])

    def change(connection: psycopg.Connection, view: str, old: str, new: str) -> None:
        statement = sql.SQL("UPDATE {} SET user_id = %s WHERE user_id = %s").format(sql.Identifier("online", view))
        assert connection.execute(statement, [new, old]).rowcount == 1

    return under


@pytest.fixture
def ready(client, register, promote):
    promote(register())
    return client


def test_an_odd_id_is_the_same_customer_by_every_route(ready, renamed):
    for user_id in ODD:
        with renamed(user_id):
            _is_the_same_customer(ready, user_id)


@settings(max_examples=60 if THOROUGH else 25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user_id=IDS)
def test_any_id_that_a_drop_may_hold_is_the_same_customer_by_every_route(ready, renamed, user_id):
    with renamed(user_id):
        _is_the_same_customer(ready, user_id)


def _is_the_same_customer(client, user_id):
    single = client.post("/predict", json={"user_id": user_id})
    assert (single.status_code, single.json["user_id"]) == (200, user_id)
    batch = client.post("/predict/batch", json={"user_ids": ["999999", user_id]}).json["results"]
    assert batch[1]["prediction"] == single.json
    looked_up = client.get(f"/features/{quote(user_id, safe='')}")
    assert (looked_up.status_code, looked_up.json["user_id"]) == (200, user_id)
    assert looked_up.json["features"] == single.json["features_used"]


def test_gunicorn_and_the_command_take_such_ids_as_they_are(children, database_url, in_production, renamed, tmp_path):
    port, tracking = free_port(), free_port()
    asked = load_settings({"SERVING_PORT": str(port), "CHURN_HOME": str(tmp_path)})
    with gunicorn(children, database_url, port, tracking, tmp_path), registry_at(tracking):
        eventually(lambda: answers(f"http://127.0.0.1:{port}/health/ready"))
        for user_id in ODD:
            with renamed(user_id):
                status, found = _look_up(port, user_id)
                assert (status, found.get("user_id")) == (200, user_id)
                assert json.loads(ask_by_command(asked, user_id))["user_id"] == user_id


def _look_up(port, user_id):
    """Send the address as it is: other clients take `..` out of it, encoded or not."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", f"/features/{quote(user_id, safe='').replace('.', '%2E')}")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
