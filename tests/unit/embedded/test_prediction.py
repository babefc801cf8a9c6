"""The prediction at the end of `make run` is by the version in Production, or says that it is not."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from werkzeug import Request, Response
from werkzeug.serving import make_server

from embedded.commands import prediction
from embedded.commands.prediction import PredictionError, predict_by
from embedded.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(prediction.time, "sleep", lambda seconds: None)


@contextmanager
def serving(*versions: int | None) -> Iterator[Settings]:
    """A service that answers with these versions in order, then with the last one; None is a problem document."""
    left = [*versions]

    @Request.application
    def answer(request: Request) -> Response:
        version = left.pop(0) if len(left) > 1 else left[0]
        if version is None:
            return Response(json.dumps({"type": "model-unavailable"}), 503, mimetype="application/problem+json")
        asked = request.get_json()["user_id"]
        return Response(json.dumps({"user_id": asked, "model": {"version": version}}), mimetype="application/json")

    server = make_server("127.0.0.1", 0, answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield load_settings({"SERVING_PORT": str(server.port)})
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("before", [(1,), (1, 1), (None, 1), (2, 2)])
def test_the_prediction_waits_for_the_version_in_production(before):
    with serving(*before, 2) as settings:
        assert json.loads(predict_by(settings, "a/b", 2, 30)) == {"user_id": "a/b", "model": {"version": 2}}


def test_a_prediction_by_another_version_is_an_error_that_shows_it():
    with serving(1) as settings, pytest.raises(PredictionError) as error:
        predict_by(settings, "a", 2, 0)
    assert '"version": 1' in str(error.value)
    late = "after 0 s serving does not answer with version 2, which is in Production: make doctor shows why"
    assert late in str(error.value)


def test_a_problem_of_serving_is_an_error_that_shows_it():
    with serving(None) as settings, pytest.raises(PredictionError, match="model-unavailable"):
        predict_by(settings, "a", 2, 0)


def test_without_a_production_the_first_answer_counts():
    with serving(None, 1) as settings, pytest.raises(PredictionError, match="none: "):
        predict_by(settings, "a", None, 30)
