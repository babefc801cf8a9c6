"""What tests of the service ask it, in this process and in another."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import date

import mlflow
import requests
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
def gunicorn(database_url, port, tracking_port, home, **settings):
    tracking_uri = f"http://127.0.0.1:{tracking_port}"
    environment = {
        "PYTHONPATH": f"{REPOSITORY / 'include'}:{REPOSITORY}",
        "CHURN_HOME": str(home),
        "CHURN_DATABASE_URL": database_url,
        "MLFLOW_TRACKING_URI": tracking_uri,
        "MLFLOW_REGISTRY_URI": tracking_uri,
        "SERVING_PORT": str(port),
        "SERVING_POLL_SECONDS": "1",
        "SERVING_WORKERS": "1",
        **settings,
    }
    command = [sys.executable, "-m", "gunicorn", "--config", REPOSITORY / "serving" / "gunicorn.conf.py"]
    with subprocess.Popen(command, env=os.environ | environment) as running:
        try:
            yield running
        finally:
            running.terminate()


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
