"""Lists made without a model: in the tables alone for tests of their readers, or of a snapshot and with files."""

from datetime import date
from typing import Any

import pyarrow as pa
from psycopg import sql

from churn.drops.storage import Location, storage_at
from churn.postgres.database import connect, execute
from churn.postgres.partitions import month
from churn.scores.arms import TREAT
from churn.scores.files import SCHEMA, publish
from churn.scores.run import Run, partition_of
from churn.scores.scoring_step import attach, write_revision

FILL = """
INSERT INTO {partition}
SELECT
    %(as_of)s, %(revision)s, user_id, probability, (probability >= %(threshold)s)::integer, i,
    ntile(10) OVER (ORDER BY i), fee, probability * fee, CASE WHEN i %% 10 = 0 THEN 'control' ELSE 'treat' END,
    CASE WHEN i <= ceil(%(rows)s / 10.0) THEN jsonb_build_array(
        jsonb_build_object('feature', 'monthly_fee', 'value', fee, 'effect', 0.12),
        jsonb_build_object('feature', 'months_active', 'value', 2, 'effect', 0.081),
        jsonb_build_object('feature', 'net_service', 'value', '<b>Fiber</b>', 'effect', -0.04)) END,
    %(model_version)s
FROM generate_series(1, %(rows)s) i, LATERAL (
    SELECT
        substr(md5(i::text), 1, 3) || '-' || i AS user_id,
        (0.9 * power(1 - (i - 0.5) / %(rows)s, 2))::float8 AS probability,
        (20 + i * 37 %% 1000 / 10.0)::float8 AS fee
) AS customer
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


def insert_list(database_url: str, as_of: date, customers: int, revision: int = 1, **different: Any) -> Run:
    """Add a revision: customer `i` is the one of rank `i`, and every tenth of them is in arm control."""
    values = _run(as_of, revision, customers) | different
    partition = partition_of(as_of, revision)
    with connect(database_url) as connection:
        execute(connection, "scores/create_partition", partition=partition)
        connection.execute(sql.SQL(FILL).format(partition=partition), values)
        execute(connection, "scores/index_partition", partition=partition)
        return attach(connection, values)


def write_list(database_url: str, files: Location, as_of: date, version: int = 1, *, is_killed: bool = False) -> Run:
    """Write the next revision of the list of a snapshot with its files: every customer has the same score.

    Args:
        is_killed: the run ends before it publishes its files.
    """
    storage = storage_at(files)
    with storage.incoming() as directory, connect(database_url, autocommit=True) as connection:
        snapshot = execute(connection, "scores/snapshot", {"as_of": as_of}).fetchone()
        newest = execute(connection, "scores/newest_revision", {"as_of": as_of}).fetchone()
        fees = connection.execute(
            "SELECT user_id, monthly_fee FROM raw.subscriptions WHERE as_of = %s ORDER BY user_id", [as_of]
        ).fetchall()
        digest, customers = snapshot
        values = _run(as_of, newest[0] + 1, customers) | {"snapshot_digest": digest, "model_version": version}
        run = write_revision(connection, values, [_rows(fees, values)], directory)
        if not is_killed:
            publish(storage, run, directory)
    return run


def _rows(fees: list[tuple[str, float]], values: dict[str, Any]) -> pa.Table:
    rows = [
        {
            **{name: values[name] for name in ("as_of", "revision", "model_version")},
            "user_id": user_id,
            "churn_probability": 0.25,
            "prediction": 0,
            "rank": rank,
            "decile": (rank * 10 - 1) // len(fees) + 1,
            "monthly_fee": fee,
            "revenue_at_risk": 0.25 * fee,
            "arm": TREAT,
            "reasons": None,
        }
        for rank, (user_id, fee) in enumerate(fees, 1)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def _run(as_of: date, revision: int, customers: int) -> dict[str, Any]:
    """Return the columns of scores.runs that identify a revision."""
    return {
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
    }


def days_pass(database_url: str, days: int = 3) -> None:
    """Make every list so many days older."""
    with connect(database_url) as connection:
        connection.execute("UPDATE scores.runs SET scored_at = scored_at - make_interval(days => %s)", [days])


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
