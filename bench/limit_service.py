"""The limit of a service under the server of ours: a constant answer after one SELECT of a row by its key.

This module is gunicorn's configuration too (`--config python:bench.limit_service`): that of ours, without its hooks,
which are about the application of ours.
"""

import os
from pathlib import Path
from runpy import run_path
from typing import Any

from flask import Flask, Response, request
from psycopg_pool import ConnectionPool

_OURS = run_path(str(Path(__file__).parents[1] / "serving" / "gunicorn.conf.py"))
globals().update({name: value for name, value in _OURS.items() if not name.startswith("_") and not callable(value)})
wsgi_app = "bench.limit_service:app"

ANSWER = (
    b'{"user_id":"7892-POOKP","prediction":1,"churn_probability":0.7318354218,"threshold":0.3141592653,"model":'
    b'{"name":"streamflow_churn","version":1,"as_of":"2024-01-31"},"features_as_of":"2024-01-31","features_used":'
    b'{"months_active":28,"monthly_fee":104.8,"paperless_billing":true,"plan_stream_tv":true,"plan_stream_movies":true,'
    b'"net_service":"Fiber optic","contract_type":"One year","watch_hours_30d":41.2,"avg_session_mins_7d":55.1,'
    b'"unique_devices_30d":3,"skips_7d":6,"rebuffer_events_7d":2,"failed_payments_90d":0,"support_tickets_90d":1,'
    b'"ticket_avg_resolution_hrs_90d":20.5}}'
)
"""As long as one of ours."""

SELECT = b"SELECT * FROM bench_limit.customers WHERE user_id = %s"

app = Flask(__name__)
pool = ConnectionPool(
    os.environ["CHURN_DATABASE_URL"],
    min_size=1,
    max_size=1,
    kwargs={"autocommit": True, "prepare_threshold": 0},
    open=False,
)


def post_worker_init(_worker: Any) -> None:
    """Open the connection of this worker: opened before the fork it would be everybody's."""
    pool.open()


@app.get("/health")
def health() -> Response:
    return Response(b'{"status":"ok"}', mimetype="application/json")


@app.post("/predict")
def predict() -> Response:
    with pool.connection() as connection:
        row = connection.execute(SELECT, [request.get_json()["user_id"]]).fetchone()
    if row is None:
        return Response(status=404)
    return Response(ANSWER, mimetype="application/json")
