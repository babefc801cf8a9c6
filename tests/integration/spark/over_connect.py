"""`python over_connect.py AS_OF ARCHIVE SCORES`: runs the chain of a date whose snapshots are in Postgres, by the Spark
Connect server of SPARK_REMOTE, and prints its figures as JSON."""

import json
import os
import sys
from datetime import date

from churn.features.store import FEATURE_SERVICES, open_offline_store
from churn.gate.grading import grade
from churn.postgres.database import connect
from churn.scores.scoring_step import score_customers
from churn.spark.parquet_snapshots import write_parquet
from churn.spark.session import spark_session
from churn.training.recipe import Parameters
from churn.training.train import train
from churn.training.training_set import build_training_set

FAMILY = "boosted trees"
"""Another one than that of the chain in Postgres: its version is not UNCHANGED."""


def main(as_of, archive, scores):
    url, day = os.environ["CHURN_DATABASE_URL"], date.fromisoformat(as_of)
    with connect(url) as connection:
        days = [each for (each,) in connection.execute("SELECT as_of FROM snapshots.builds ORDER BY as_of")]
    written = [write_parquet(each, url, archive, os.environ["SNAPSHOTS_URL"]).outcome for each in days]
    training_set = build_training_set(open_offline_store(url), FEATURE_SERVICES, day, url)
    trained = train(day, url, Parameters(families=(FAMILY,)))
    decided = grade(trained.figures["version"], url)
    listed = score_customers(day, url, scores, 0.1)
    return {
        "session": type(spark_session()).__module__,
        "written": written,
        "digest": training_set.digest,
        "trained": trained.to_json(),
        "decided": decided.to_json(),
        "listed": listed.to_json(),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))  # noqa: T201 — the test reads it
