"""What tests of the service ask it, in this process and in another."""

import os
import socket
import sys
import threading
from contextlib import contextmanager
from datetime import date

import mlflow
import requests
from gunicorn.app.wsgiapp import run
from werkzeug import Request, Response
from werkzeug.serving import make_server

from churn.registry.model_version import MODEL_NAME
from tests.conftest import REPOSITORY
from tests.patience import SLOWNESS, wait_for

AS_OF = date(2024, 1, 31)
PATIENCE_SECONDS = 60


def to_production(registry, version):
    registry.transition_model_version_stage(MODEL_NAME, str(version), "Production", archive_existing_versions=True)


def predict(client, user_id):
    response = client.post("/predict", json={"user_id": user_id})
    return response.status_code, response.get_json(force=True)


def served_version(client, user_id):
    return predict(client, user_id)[1]["model"]["version"]


def eventually(true):
    wait_for(true, pause=0.1)


def answers(url):
    try:
        return requests.get(url, timeout=10 * SLOWNESS).ok
    except requests.ConnectionError:
        return False


def metrics(url, name):
    lines = requests.get(f"{url}/metrics", timeout=10 * SLOWNESS).text.splitlines()
    return [float(line.split()[-1]) for line in lines if line.startswith(name)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def gunicorn(children, database_url, port, tracking_port, home, **settings):
    """Run the service as gunicorn does, in a child that has imported the libraries; its output is in `log_of(home)`.

    Importing them takes ten times as long as the rest; tests/unit/serving/test_image.py starts it from nothing.
    """
    tracking_uri = f"http://127.0.0.1:{tracking_port}"
    environment = {
        "CHURN_HOME": str(home),
        "CHURN_DATABASE_URL": database_url,
        "MLFLOW_TRACKING_URI": tracking_uri,
        "MLFLOW_REGISTRY_URI": tracking_uri,
        "SERVING_PORT": str(port),
        "SERVING_POLL_SECONDS": "1",
        "SERVING_WORKERS": "1",
        **settings,
    }
    running = children.Process(target=_serve, args=(environment, log_of(home)))
    running.start()
    try:
        yield running
    finally:
        running.terminate()
        running.join()


def log_of(home):
    return home / "gunicorn.log"


def _serve(environment, log):
    os.environ |= environment
    with log.open("wb") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    sys.argv = ["gunicorn", "--config", str(REPOSITORY / "serving" / "gunicorn.conf.py")]
    run()


@contextmanager
def registry_at(port):
    """The registry at another port too, without connections that outlive it: it comes and goes at once."""
    server = make_server("127.0.0.1", port, _hand_on, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@Request.application
def _hand_on(request):
    headers = {name: request.headers[name] for name in ("Content-Type",) if name in request.headers}
    address = f"{mlflow.get_tracking_uri()}{request.full_path}"
    answer = requests.request(request.method, address, data=request.get_data(), headers=headers, timeout=30 * SLOWNESS)
    return Response(answer.content, answer.status_code, content_type=answer.headers["Content-Type"])
