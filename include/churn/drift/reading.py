"""What is compared of an AS_OF: the features and scores of a fixed sample of its customers.

Scores are those of the gate and audit cohorts, on both sides: no version learned from these customers. Where a version
saw the labels of the others, their scores lie further apart.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from feast import FeatureService, FeatureStore
from psycopg import sql

from churn.features.store import feature_types, stream_features
from churn.postgres.database import Connection, compose, execute
from churn.scores.run import Run
from churn.training import cohort

SAMPLE = 2**16
"""Customers that are compared, on each side. Their PSI is right to 0.001 where there is no difference, and neither
memory nor time grow with the customers."""

SALT = "streamflow-drift-1"
"""The sample is chosen by a salted hash that is independent of cohorts and arms: the same customers every night."""

SCORE = "churn_probability"
"""The column of the scores."""


def sampled_below(customers: float) -> bytes:
    """Return the exclusive upper bound of the first eight hash bytes of SAMPLE of so many customers."""
    share = min(1.0, SAMPLE / max(customers, 1))
    return min(int(share * 2.0**64), 2**64 - 1).to_bytes(8)


def read_features(
    connection: Connection, store: FeatureStore, service: FeatureService, entities: str, values: Mapping[str, Any]
) -> pa.Table:
    """Return user_id and the features of the entities of a statement.

    Args:
        values: for the placeholders of the statement, but the salt.
    """
    literals = {name: sql.Literal(value) for name, value in {**values, "salt": SALT}.items()}
    query = compose(entities, **literals).as_string(connection)
    batches = [*stream_features(store, service, query)]
    return pa.Table.from_batches(batches).select(["user_id", *feature_types(service)]) if batches else pa.table({})


def read_scores(connection: Connection, run: Run) -> pa.Array:
    """Return the scores of the customers of a list that no version learned from."""
    found = execute(connection, "drift/scores", {
        "as_of": run.as_of,
        "revision": run.revision,
        "cohort_salt": cohort.SALT,
        "cohorts_below": cohort.both_cohorts_below(),
        "salt": SALT,
        "below": sampled_below(run.rows * (cohort.SHARE + cohort.AUDIT_SHARE)),
    })  # fmt: skip
    return pa.array([score for (score,) in found], pa.float64())
