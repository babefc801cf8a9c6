"""What the service answers while it has neither a model nor a feature store: its contract, its refusals."""

import gzip
import json
import socket
from collections import Counter
from io import BytesIO
from random import Random

import pytest

from serving import state
from serving.app import create_app
from serving.problems import TYPES, Problem
from serving.schemas import MOST_BATCH_BYTES, MOST_BATCH_IDS, ProblemDetails
from serving.settings import Settings
from tests.conftest import REPOSITORY

BODY_LIMIT = 2_000


@pytest.fixture(scope="module")
def app():
    # Bound and not listening: whoever connects is refused.
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        yield create_app(
            Settings(
                database_url=f"postgresql://nobody@127.0.0.1:{port}/churn",
                tracking_uri=f"http://127.0.0.1:{port}",
                max_body_bytes=BODY_LIMIT,
            )
        )


@pytest.fixture
def client(app):
    return app.test_client()


def problem(response):
    """The answer's problem, once it is shown to be one."""
    assert response.mimetype == "application/problem+json"
    body = response.get_json(force=True)
    ProblemDetails.model_validate(body)
    assert body["status"] == response.status_code
    assert TYPES[body["type"]] == (body["status"], body["title"])
    return body["type"]


def post(client, body, content_type="application/json"):
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return client.post("/predict", data=data, content_type=content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'user_id': 1}",
        b'{"user_id": "\xff"}',
        b"[" * 1_900,
        b'{"user_id": ' + b"9" * 1_900 + b"x",
    ],
    ids=["empty", "cut", "quotes", "bytes", "depth", "digits"],
)
def test_a_body_that_is_not_json_is_malformed(client, body):
    assert problem(post(client, body)) == "malformed-json"


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/problem+json", "application/vnd.x+json"],
)
def test_a_body_that_does_not_say_it_is_json_is_refused(client, content_type):
    assert problem(post(client, {"user_id": "a"}, content_type)) == "not-json"


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate, gzip"])
def test_a_compressed_body_is_refused_by_the_name_of_its_encoding(client, path, encoding):
    body = gzip.compress(b'{"user_id": "a"}')
    response = client.post(path, data=body, content_type="application/json", headers={"Content-Encoding": encoding})
    assert problem(response) == "encoded-body"
    assert response.get_json(force=True)["detail"] == (
        f"send the body uncompressed: Content-Encoding {encoding!r} is not supported"
    )
    assert response.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_a_body_that_says_it_is_not_compressed_is_read(client, encoding):
    response = client.post("/predict", json={"user_id": "a"}, headers={"Content-Encoding": encoding})
    assert problem(response) == "model-unavailable"


def test_a_query_that_is_no_text_is_no_failure_of_the_service(client):
    assert client.get("/health", environ_overrides={"QUERY_STRING": "a=\xff"}).status_code == 200


def test_a_body_above_the_limit_is_too_large(client):
    assert problem(post(client, {"user_id": "a", "more": "x" * BODY_LIMIT})) == "body-too-large"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("beyond", "type_"), [(0, "model-unavailable"), (1, "body-too-large")])
def test_the_limit_of_a_body_is_the_same_whether_or_not_it_comes_in_chunks(client, chunked, beyond, type_):
    body = json.dumps({"user_id": "a"}).encode().ljust(BODY_LIMIT + beyond)
    given = {"data": body}
    if chunked:
        environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
        given = {"input_stream": BytesIO(body), "environ_overrides": environ}
    assert problem(client.post("/predict", content_type="application/json", **given)) == type_


@pytest.mark.parametrize("body", ["null", "[]", '["a"]', '"a"', "1", '"{\\"user_id\\": \\"a\\"}"'])
def test_json_that_is_not_an_object_is_not_of_the_declared_form(client, body):
    assert problem(post(client, body)) == "invalid-request"


@pytest.mark.parametrize(
    "user_id",
    [None, "", 7, 7.5, True, [], {}, ["a"], "a\0b", "\ud800", "a" * 257],
    ids=lambda id_: repr(id_)[:9],
)
def test_a_user_id_that_is_not_a_non_empty_string_is_refused(client, user_id):
    response = post(client, {"user_id": user_id})
    assert problem(response) == "invalid-request"
    assert "user_id" in response.get_json(force=True)["detail"]


def test_a_missing_user_id_is_refused(client):
    assert problem(post(client, {"userid": "a"})) == "invalid-request"


@pytest.mark.parametrize("user_id", ["a", " ", "a" * 256, "…", "a/b"])
def test_any_other_string_is_a_customer_and_further_fields_are_ignored(client, user_id):
    response = post(client, {"user_id": user_id, "more": [1]}, "application/json; charset=utf-8")
    assert problem(response) == "model-unavailable"


def test_no_model_is_a_503_that_says_when_to_come_back(client):
    response = post(client, {"user_id": "a"})
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


def test_features_that_were_never_looked_up_are_a_503(client):
    response = client.get("/features/7892-POOKP")
    assert (response.status_code, problem(response)) == (503, "feature-store-unavailable")


def test_where_postgres_is_stays_in_the_log(app, caplog):
    with pytest.raises(Problem) as refused:
        state.of(app).features.lookup("churn_v1")
    assert refused.value.description == "the database of the online features does not answer"
    assert "127.0.0.1" in caplog.text


@pytest.mark.parametrize("path", ["/features/%00", "/features/" + "a" * 257])
def test_an_impossible_id_in_the_path_is_refused(client, path):
    assert problem(client.get(path)) == "invalid-request"


@pytest.mark.parametrize("path", ["/predict/", "/features/", "/nothing", "/static/page.js"])
def test_an_unknown_address_is_not_found(client, path):
    assert problem(client.get(path)) == "not-found"


def test_a_wrong_method_is_told_the_right_one(client):
    response = client.get("/predict")
    assert problem(response) == "method-not-allowed"
    assert "POST" in response.headers["Allow"]


def test_ten_thousand_malformed_bodies_get_documented_problems_and_never_a_500(client):
    random = Random(3)
    good = json.dumps({"user_id": "7892-POOKP", "more": [1, {"a": None}], "text": "\u00e9\ud83d"}).encode()
    seen = Counter()
    for _ in range(10_000):
        body = bytearray(good)
        for _ in range(random.randrange(1, 6)):
            place = random.randrange(len(body) + 1)
            body[place : place + random.randrange(4)] = random.randbytes(random.randrange(4))
        path = random.choice(("/predict", "/predict/batch", "/predict?explain=maybe"))
        response = client.post(path, data=bytes(body), content_type="application/json")
        seen[problem(response)] += 1
    # A body whose fields survived is a question that this service, without a model, has no answer to.
    assert set(seen) == {"malformed-json", "invalid-request", "model-unavailable"}


@pytest.mark.parametrize(
    "user_ids",
    [None, "a", [], ["a", ""], [1], ["a"] * (MOST_BATCH_IDS + 1), {"a": 1}],
    ids=lambda user_ids: repr(user_ids)[:9],
)
def test_a_batch_that_is_not_of_1_to_the_most_ids_is_refused(client, user_ids):
    response = client.post("/predict/batch", json={"user_ids": user_ids})
    assert problem(response) == "invalid-request"
    assert "user_ids" in response.get_json(force=True)["detail"]


def test_a_batch_of_the_most_and_longest_ids_is_not_too_large(client):
    body = json.dumps({"user_ids": ["\U0001f600" * 256] * MOST_BATCH_IDS})
    response = client.post("/predict/batch", data=body, content_type="application/json")
    assert problem(response) == "model-unavailable"


def test_the_manual_tells_the_limits_of_a_batch():
    manual = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
    assert f"up to {MOST_BATCH_IDS:,} customers" in manual
    assert f"a batch may have {MOST_BATCH_BYTES:,} bytes" in manual


@pytest.mark.parametrize("path", ["/", "/docs", "/predict", "/health", "/page/page.js"])
def test_no_answer_lets_a_browser_run_or_read_anything_from_elsewhere(client, path):
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe-eval" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_an_unexpected_error_is_answered_without_its_stack_trace_and_logged_with_it(app, caplog, monkeypatch):
    def broken():
        raise RuntimeError("a secret of the house")

    monkeypatch.setattr(state, "current", broken)
    response = post(app.test_client(), {"user_id": "a"})
    assert problem(response) == "internal-error"
    assert "secret" not in response.text
    assert "a secret of the house" in caplog.text


def test_the_process_is_healthy_though_it_is_not_ready(client):
    assert client.get("/health").get_json() == {"status": "ok"}
    response = client.get("/health/ready")
    assert problem(response) == "not-ready"
    reasons = response.get_json(force=True)["reasons"]
    assert [reason.split(":")[0] for reason in reasons] == ["model-unavailable", "feature-store-unavailable"]


def test_the_contract_is_openapi_3_1_and_names_every_answer(client):
    contract = client.get("/openapi.json").get_json()
    assert contract["openapi"].startswith("3.1")
    assert set(contract["paths"]) == {
        "/predict",
        "/predict/batch",
        "/features/{user_id}",
        "/health",
        "/health/ready",
        "/metrics",
    }
    answers = contract["paths"]["/predict"]["post"]["responses"]
    assert set(answers) == {"200", "400", "401", "404", "409", "413", "415", "422", "503", "default"}
    assert all(set(answers[status]["content"]) == {"application/problem+json"} for status in answers if status != "200")


def test_every_schema_that_the_contract_refers_to_is_in_it(client):
    contract = client.get("/openapi.json").get_json()
    referred = {part.split('"')[0] for part in json.dumps(contract).split("#/components/schemas/")[1:]}
    assert referred <= set(contract["components"]["schemas"])


def test_the_swagger_page_and_its_assets_come_from_here_alone(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text
    assert "validatorUrl: null" in client.get("/page/docs.js").text
    for asset in ("css/swagger-ui.css", "js/swagger-ui-bundle.js", "images/swagger.svg"):
        assert f"docs/assets/{asset}" in page.text
        assert client.get(f"/docs/assets/{asset}").status_code == 200


def test_requests_are_counted_by_route_and_never_by_customer(client):
    client.get("/features/somebody-in-particular")
    client.get("/nothing-in-particular")
    counted = client.get("/metrics")
    assert counted.content_type.startswith("text/plain")
    assert 'churn_http_requests_total{method="GET",route="/features/<path:user_id>",status="503"}' in counted.text
    assert "in-particular" not in counted.text
