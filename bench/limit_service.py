"""The limit of a service under the server of ours: a constant answer; and that after one SELECT of a row by its key."""

import os

from flask import Flask, Response, request
from psycopg_pool import ConnectionPool

ANSWER = (
    b'{"user_id":"7892-POOKP","prediction":1,"churn_probability":0.7318354218,"threshold":0.3141592653,"model":'
    b'{"name":"streamflow_churn","version":1,"as_of":"2024-01-31"},"features_as_of":"2024-01-31","features_used":'
    b'{"months_active":28,"monthly_fee":104.8,"paperless_billing":true,"plan_stream_tv":true,"plan_stream_movies":true,'
    b'"net_service":"Fiber optic","watch_hours_30d":41.2,"avg_session_mins_7d":55.1,"unique_devices_30d":3,'
    b'"skips_7d":6,"rebuffer_events_7d":2,"failed_payments_90d":0,"support_tickets_90d":1,'
    b'"ticket_avg_resolution_hrs_90d":20.5}}'
)
"""As long as one of ours."""

SELECT = b"SELECT * FROM bench_limit.customers WHERE user_id = %s"

app = Flask(__name__)
pool = ConnectionPool(
    os.environ["CHURN_DATABASE_URL"],
    min_size=1,
    max_size=int(os.environ.get("SERVING_THREADS") or 2),
    kwargs={"autocommit": True, "prepare_threshold": 0},
    open=False,
)


@app.get("/health")
def health() -> Response:
    return Response(b'{"status":"ok"}', mimetype="application/json")


@app.post("/constant")
def constant() -> Response:
    return Response(ANSWER, mimetype="application/json")


@app.post("/select")
def select() -> Response:
    with pool.connection() as connection:
        row = connection.execute(SELECT, [request.get_json()["user_id"]]).fetchone()
    if row is None:
        return Response(status=404)
    return Response(ANSWER, mimetype="application/json")
