"""Seconds and memory of the list of an AS_OF: scoring, ranking and writing it, by family of models and customers.

Naive reads the features with pandas, scores with the pipeline, and writes with `to_sql` and `to_csv`; it gives no
reasons and no arms. The limit is the COPY of ready columns into a table without an index, and their Parquet file.
"""

from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet
from mlflow import MlflowClient
from psycopg import sql
from sqlalchemy import create_engine

from bench import ours
from bench.context import Bench
from bench.figures import Row, number, significant
from bench.measure import Measured, Watch, measure
from bench.processes import mlflow_server
from bench.sides import NAIVE_UP_TO, compare
from churn.as_of import event_timestamp
from churn.features.store import FEATURE_SERVICE, feature_types, load_definitions, open_store, stream_features
from churn.postgres.copy import copy_rows
from churn.postgres.database import compose, connect
from churn.registry.loading import load_pipeline
from churn.registry.model_version import MODEL_NAME, PRODUCTION
from churn.registry.trust import trust
from churn.scores.scoring_step import score_customers
from churn.scoring.frame import to_model_types
from churn.training.recipe import Parameters
from churn.training.train import train
from embedded.postgres_url import with_driver

FAMILIES = ("logistic regression", "boosted trees", "random forest")

TRAINED_ON = 7_000
"""Customers. The cost of scoring hardly depends on it."""

SHARE = 0.10


@dataclass(frozen=True)
class Place:
    """The database, MLflow, the landing directory and the AS_OF."""

    url: str
    tracking: str
    landing: Path
    as_of: date

    def use(self) -> None:
        """Let this process talk to MLflow."""
        mlflow.set_tracking_uri(self.tracking)
        mlflow.set_registry_uri(self.tracking)

    def snapshot(self, watch: Watch) -> None:
        """Load the drop and build its snapshot."""
        ours.prepare(watch, self.url)
        ours.load_and_validate(watch, self.url, self.landing, self.as_of)
        ours.snapshot(watch, self.url, self.landing, self.as_of)


def run(bench: Bench) -> Row:
    """Measure every size with a version of each family in Production."""
    rows: list[Row] = []
    with mlflow_server(bench.server.directory / "mlflow") as tracking:
        with bench.drops(TRAINED_ON) as drops, bench.server.database() as url:
            bench.say("training a version of each family")
            at = Place(url, tracking, drops[-1].path.parent, drops[-1].as_of)
            versions = measure(bench.server, train_families, at).result
        for customers in bench.customers:
            samples: dict[tuple[str, str], list[Measured]] = defaultdict(list)
            with bench.drops(customers) as drops, bench.server.database() as url:
                at = Place(url, tracking, drops[-1].path.parent, drops[-1].as_of)
                measure(bench.server, prepare, at, versions)
                for family, version in versions.items():
                    client = MlflowClient(tracking, tracking)
                    client.transition_model_version_stage(MODEL_NAME, str(version), PRODUCTION, True)
                    for side, step in SIDES.items():
                        if side == "naive" and customers > NAIVE_UP_TO:
                            continue
                        for _ in range(bench.repeats_of(customers)):
                            samples[side, family].append(measure(bench.server, step, at, version))
                        took = samples[side, family][-1].seconds
                        bench.say(f"{customers:,} customers, {family}: {side} {number(took)} s")
                joined = [measure(bench.server, read_features, at) for _ in range(bench.repeats_of(customers))]
            found = compare(samples, [*FAMILIES])
            seconds = significant(min(each.seconds for each in joined))
            features = dict.fromkeys(found[0]) | {"step": "of each, features", "ours s": seconds}
            rows += [{"customers": customers, **row} for row in (*found[:-1], features)]
    return {"lists": rows}


def train_families(watch: Watch, at: Place) -> dict[str, int]:
    """Train a version of each family, and return the versions."""
    at.use()
    at.snapshot(watch)
    only = {family: Parameters(families=(family,), feature_services=(FEATURE_SERVICE,)) for family in FAMILIES}
    trained = {family: train(at.as_of, at.url, parameters) for family, parameters in only.items()}
    return {family: int(outcome.figures["version"]) for family, outcome in trained.items()}


def prepare(watch: Watch, at: Place, versions: dict[str, int]) -> None:
    """Build the snapshot, in a database that trusts the versions."""
    at.use()
    at.snapshot(watch)
    for version in versions.values():
        trust(version, "bench", "trained in another database", at.url)


def score_ours(watch: Watch, at: Place, _version: int) -> float:
    """Score as the task does; return the expected churners, which the other sides must find too."""
    at.use()
    with connect(at.url) as connection:
        # Else a repetition is UNCHANGED. Earlier revisions stay, as they do in use.
        connection.execute("UPDATE scores.runs SET code_digest = ''")
    with watch:
        figures = score_customers(at.as_of, at.url, str(at.landing.parent / "scores"), SHARE).figures
    return round(float(figures["expected_churners"]), 0)


def read_features(watch: Watch, at: Place) -> None:
    """Read the features by Feast's join alone, which is a part of ours for every family."""
    store = open_store(at.url)
    query = compose("scores/entities", event_timestamp=sql.Literal(event_timestamp(at.as_of))).as_string(None)
    with watch:
        deque(stream_features(store, store.get_feature_service(FEATURE_SERVICE), query), maxlen=0)


def score_naive(watch: Watch, at: Place, version: int) -> float:
    """Score with pandas."""
    at.use()
    (service,) = (each for each in load_definitions() if each.name == FEATURE_SERVICE)
    types = feature_types(service)
    pipeline = load_pipeline(version, at.url)
    engine = create_engine(with_driver(at.url, "psycopg2"), executemany_mode="values_plus_batch")
    tables = ("usage_agg_30d", "payments_agg_90d", "support_agg_90d")
    joins = " ".join(f"JOIN snapshots.{each}_snapshots USING (user_id, event_timestamp)" for each in tables)
    query = f"SELECT user_id, {', '.join(types)} FROM snapshots.subscriptions_profile_snapshots {joins}"  # noqa: S608
    with watch, engine.begin() as connection:
        frame = pd.read_sql(f"{query} WHERE event_timestamp = '{event_timestamp(at.as_of)}'", connection)
        frame["churn_probability"] = pipeline.predict_proba(to_model_types(frame[[*types]].copy(), types))[:, 1]
        frame = frame.sort_values(["churn_probability", "user_id"], ascending=[False, True])
        frame["rank"] = np.arange(1, len(frame) + 1)
        frame["decile"] = (frame["rank"] * 10 - 1) // len(frame) + 1
        frame["revenue_at_risk"] = frame["churn_probability"] * frame["monthly_fee"]
        scored = frame[["user_id", "churn_probability", "rank", "decile", "monthly_fee", "revenue_at_risk"]]
        scored.to_sql("naive_scores", connection, if_exists="replace", index=False, chunksize=10_000)
        scored.to_csv(at.landing.parent / "naive_scores.csv", index=False)
    return round(float(frame["churn_probability"].sum()), 0)


def write_limit(watch: Watch, at: Place, _version: int) -> None:
    """Write the columns that ours has just written."""
    file = max((at.landing.parent / "scores").rglob("scores.parquet"), key=lambda each: each.stat().st_mtime)
    ready, to = pyarrow.parquet.read_table(file), sql.Identifier("public", "limit_scores")
    with connect(at.url) as connection:
        connection.execute("DROP TABLE IF EXISTS limit_scores")
        connection.execute("CREATE TABLE limit_scores AS SELECT * FROM scores.customers WITH NO DATA")
    with watch:
        with connect(at.url) as connection:
            copy_rows(connection, to, [ready])
        pyarrow.parquet.write_table(ready, at.landing.parent / "limit.parquet", compression="zstd")


SIDES = {"naive": score_naive, "ours": score_ours, "limit": write_limit}
