"""The rows that are judged: scores of one version and the labels that are known of them at an AS_OF."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import dbapi
from psycopg import sql

from churn.features.store import open_offline_store
from churn.postgres.database import Connection, compose, connect, one
from churn.registry.model_version import ModelVersion
from churn.registry.version_scorer import load_scorer
from churn.scores.arms import arms
from churn.scores.run import Run
from churn.training.sample import cohorts_of, evenly
from churn.training.training_set import LABEL, TrainingSet, join_features

LIST, ANSWERING, API = "list", "answering", "api"
"""The sources of scores: the list of the date, the version that answered when the labels came, the prediction log."""

ALL = "all"
"""The arm of rows that are not divided by arm."""


MOST_ROWS = 1_000_000
"""Customers of a list that are judged at most, about: the standard error of an AUC of 0.8 is then below 0.001."""


@dataclass(frozen=True)
class Rows:
    """Customers of one date whose labels are known, with the scores of one version.

    Attributes:
        users: pa.string. labels, predictions: bool. scores: float64, the churn_probability.
        deciles: of the whole list, 1 on top; 0 of scores that no list ranked.
        arms: the arm of each, ALL where they have none.
        contacted: bool, an action of the date is known.
    """

    source: str
    users: pa.ChunkedArray
    labels: np.ndarray
    scores: np.ndarray
    predictions: np.ndarray
    deciles: np.ndarray
    arms: np.ndarray
    contacted: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: np.ndarray) -> "Rows":
        """Return the rows of a mask."""
        arrays = (self.labels, self.scores, self.predictions, self.deciles, self.arms, self.contacted)
        return Rows(self.source, self.users.filter(pa.array(chosen)), *(array[chosen] for array in arrays))

    def plus(self, other: "Rows") -> "Rows":
        """Return the rows of two lists."""
        users = pa.chunked_array([*self.users.chunks, *other.users.chunks], pa.string())
        names = ("labels", "scores", "predictions", "deciles", "arms", "contacted")
        return Rows(self.source, users, *(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))


def list_rows(database_url: str, run: Run, known_as_of: date) -> Rows:
    """Return the customers of a list whose labels a drop up to `known_as_of` delivered, by rank; of a long list a
    sample."""
    known = {"as_of": sql.Literal(run.as_of), "known_as_of": sql.Literal(known_as_of)}
    in_sample = evenly(MOST_ROWS, run.rows).condition("customers")
    return _rows(
        LIST, _query(database_url, "outcomes/list_rows", **known, partition=run.partition, in_sample=in_sample)
    )


def list_scores(database_url: str, run: Run) -> pa.Table:
    """Return user_id and churn_probability of a list, by rank; of long lists a sample."""
    in_sample = evenly(MOST_ROWS, run.rows).condition("customers")
    return _query(database_url, "outcomes/list_scores", partition=run.partition, in_sample=in_sample)


def answered_rows(database_url: str, as_of: date, known_as_of: date) -> Iterator[tuple[int, Rows]]:
    """Yield each version that answered for `as_of`, and its last answer for each customer with a label; of very many
    customers a sample."""
    with connect(database_url) as connection:
        answers = one(connection, "outcomes/answers", {"as_of": as_of})[0]
    known = {"as_of": sql.Literal(as_of), "known_as_of": sql.Literal(known_as_of)}
    in_sample = evenly(MOST_ROWS, answers).condition("answered")
    table = _query(database_url, "outcomes/answered", **known, in_sample=in_sample)
    for version in sorted(pc.unique(table["model_version"]).to_pylist()):
        yield version, _rows(API, table.filter(pc.equal(table["model_version"], version)))


def answering_rows(
    connection: Connection,
    version: ModelVersion,
    as_of: date,
    known_as_of: date,
    database_url: str,
    *,
    control_share: float | None = None,
) -> Rows:
    """Score the gate cohort of `as_of` by the version that was answering, as the gate grades Production.

    Args:
        control_share: that of the list of `as_of`; None without a list, and nobody has an arm.

    Raises:
        ModelNotLoadable, VersionRefused: the version cannot be loaded.
        FeatureServiceNotFoundException: Feast does not know its feature service.
    """
    store = open_offline_store(database_url)
    service = store.get_feature_service(version.feature_service)
    scorer = load_scorer(version, service, database_url).scorer
    both = join_features(connection, store, service, as_of, known_as_of, sample=cohorts_of(connection, as_of))
    table = both.filter(pa.array(TrainingSet(known_as_of, service, both).cohort))
    scores = scorer.probabilities_of(table) if len(table) else np.empty(0)
    unassigned = np.full(len(table), ALL)
    return Rows(
        source=ANSWERING,
        users=table["user_id"],
        labels=table[LABEL].to_numpy(),
        scores=scores,
        predictions=scores >= version.threshold,
        deciles=np.zeros(len(table), dtype=int),
        arms=unassigned if control_share is None else arms(table["user_id"].to_pylist(), control_share),
        contacted=np.zeros(len(table), dtype=bool),
    )


def _query(database_url: str, name: str, **identifiers: sql.Composable) -> pa.Table:
    query = compose(name, **identifiers)
    with dbapi.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(query.as_string(None))
        return cursor.fetch_arrow_table()


def _rows(source: str, table: pa.Table) -> Rows:
    return Rows(
        source=source,
        users=table["user_id"],
        labels=table["churn_label"].to_numpy(),
        scores=table["churn_probability"].to_numpy(),
        predictions=table["prediction"].to_numpy(),
        deciles=table["decile"].to_numpy(),
        arms=table["arm"].to_numpy(),
        contacted=table["contacted"].to_numpy(),
    )
