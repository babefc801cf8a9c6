"""Fabricated lists in the tables of scores, for tests of their readers."""

from datetime import date
from typing import Any

from psycopg import sql

from churn.postgres.database import Connection, connect, execute
from churn.postgres.partitions import month
from churn.scores.run import Run, partition_of, record_run

CUSTOMERS = """
INSERT INTO scored
SELECT
    substr(md5(i::text), 1, 3) || '-' || i, 0.9 * power(1 - (i - 0.5) / %(customers)s, 2), 20 + i * 37 %% 1000 / 10.0,
    CASE WHEN i %% 10 = 0 THEN 'control' ELSE 'treat' END
FROM generate_series(1, %(customers)s) i
"""
REASONS = """
INSERT INTO reasons
SELECT user_id, jsonb_build_array(
    jsonb_build_object('feature', 'monthly_fee', 'value', monthly_fee, 'effect', 0.12),
    jsonb_build_object('feature', 'months_active', 'value', 2, 'effect', 0.081),
    jsonb_build_object('feature', 'net_service', 'value', '<b>Fiber</b>', 'effect', -0.04))
FROM scored ORDER BY churn_probability DESC, user_id LIMIT ceil(%(customers)s / 10.0)
"""
LABELS = """
INSERT INTO {partition}
SELECT
    user_id, as_of, %(drop)s,
    ('x' || substr(md5('left' || user_id), 1, 8))::bit(32)::bigint / 4294967296.0 < churn_probability
FROM scores.customers
WHERE as_of = %(as_of)s AND revision = %(revision)s
ORDER BY random()
"""
LEAVERS = """
INSERT INTO {partition}
SELECT user_id, as_of, %(drop)s, true
FROM scores.customers
WHERE as_of = %(as_of)s AND revision = %(revision)s AND rank <= %(last_rank)s
"""
BUILD = """
INSERT INTO snapshots.builds (as_of, drop_digest, code_digest, rows, label_dates)
VALUES (%(drop)s, 'd', 'c', '{}', ARRAY[%(as_of)s::date])
"""


def make_list(database_url: str, as_of: date, customers: int, revision: int = 1, **different: Any) -> Run:
    """Add a revision: customer `i` is the one of rank `i`, and every tenth of them is in arm control."""
    values = {
        "as_of": as_of,
        "revision": revision,
        "model_version": 3,
        "model_run_id": "a-run",
        "model_as_of": date(2023, 12, 31),
        "feature_service": "churn_v2",
        "threshold": 0.4,
        "control_share": 0.1,
        "snapshot_digest": "s",
        "code_digest": "c",
        "rows": customers,
        "sha256": "f",
    } | different
    partition = partition_of(as_of, revision)
    with connect(database_url) as connection:
        execute(connection, "scores/create_staging")
        for statement in (CUSTOMERS, REASONS):
            connection.execute(statement, {"customers": customers})
        for name in ("create_partition", "fill_partition", "index_partition"):
            execute(connection, f"scores/{name}", values if name == "fill_partition" else None, partition=partition)
        bounds = {"as_of": as_of, "revision": revision, "next": revision + 1}
        literals = {name: sql.Literal(value) for name, value in bounds.items()}
        execute(connection, "scores/attach", partition=partition, **literals)
        execute(connection, "partitions/analyze", table=partition)
        return record_run(connection, values | _totals(connection, partition))


def _totals(connection: Connection, partition: sql.Identifier) -> dict[str, float]:
    _, expected, revenue = execute(connection, "scores/totals", partition=partition).fetchone()
    return {"expected_churners": expected, "revenue_at_risk": revenue}


def bring_labels(database_url: str, run: Run, drop: date) -> None:
    """Add a drop with a label of every customer of a list: those of a higher churn_probability leave more often."""
    _bring(database_url, LABELS, {"as_of": run.as_of, "revision": run.revision, "drop": drop})


def bring_leavers(database_url: str, run: Run, drop: date, last_rank: int) -> None:
    """Add a drop that says of the first customers of a list that all of them left."""
    values = {"as_of": run.as_of, "revision": run.revision, "drop": drop, "last_rank": last_rank}
    _bring(database_url, LEAVERS, values)


def _bring(database_url: str, statement: str, values: dict[str, Any]) -> None:
    with connect(database_url) as connection:
        with month(connection, "snapshots.labels_snapshots", values["drop"]) as partition:
            connection.execute(sql.SQL(statement).format(partition=partition), values)
        connection.execute(BUILD, values)
