"""Training sets: the labels of each date, as known at an AS_OF, joined by Feast with the features of that date."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from feast import FeatureService, FeatureStore
from feast.errors import FeatureServiceNotFoundException
from psycopg import sql
from sklearn.pipeline import Pipeline

from churn.as_of import event_timestamp
from churn.features.store import feature_types, joins_by_spark, of_spark
from churn.postgres.database import Connection, connect, execute, statement
from churn.scoring.frame import to_model_types
from churn.scoring.scorer import score
from churn.training.cohort import cohorts
from churn.training.digest import digest_of, digest_of_parts
from churn.training.sample import Sample, samples_of
from churn.training.sources import labelled_dates

BLOCK = 40_000
"""Rows converted to Python objects at once: a few megabytes."""

LABEL = "churn_label"


class NothingToLearn(RuntimeError):
    """No date up to the AS_OF has both labels and a snapshot."""


class ServiceNotApplied(RuntimeError):
    """Feast's registry does not have a feature service that training compares."""


@dataclass(frozen=True)
class TrainingSet:
    """One row per customer and labelled date, ordered by both.

    Columns: user_id, as_of (the labelled date), churn_label, then the features of `service` in its order.

    Attributes:
        others: feature services of some of these features, simplest first.
        samples: of each labelled date, which customers are in it; a date without one has all.
    """

    as_of: date
    service: FeatureService
    table: pa.Table
    others: tuple[FeatureService, ...] = ()
    samples: Mapping[date, Sample] = field(default_factory=dict)

    def of(self, service: FeatureService) -> "TrainingSet":
        """Return the same rows with the features of that service only."""
        columns = ["user_id", "as_of", LABEL, *feature_types(service)]
        return replace(self, service=service, table=self.table.select(columns))

    @property
    def dates(self) -> list[date]:
        """The labelled dates, oldest first."""
        return sorted(pc.unique(self.table["as_of"]).to_pylist())

    @cached_property
    def digest(self) -> str:
        """The sha256 of the rows: equal rows have equal digests."""
        return digest_of(self.table)

    @property
    def cohort(self) -> np.ndarray:
        """Mask of the rows whose customer is in the gate cohort."""
        return self._cohorts[0]

    @property
    def audit(self) -> np.ndarray:
        """Mask of the rows whose customer is in the audit cohort."""
        return self._cohorts[1]

    @cached_property
    def _cohorts(self) -> tuple[np.ndarray, np.ndarray]:
        return cohorts(user for block in self.table.to_batches(BLOCK) for user in block["user_id"].to_pylist())

    def cohort_digest(self, day: date, service: FeatureService | None = None) -> str:
        """The sha256 of the gate cohort's rows of that labelled date, with the features of that service only; None: of
        all."""
        # The cohort is that of these rows: the hashes of a million customers are not computed again.
        table = self.of(service).table if service else self.table
        return digest_of_parts(table.schema, _blocks_of(table, self.cohort & self.on(day)))

    @property
    def days(self) -> np.ndarray:
        """The labelled date of each row."""
        return self.table["as_of"].to_numpy().astype("datetime64[D]")

    def on(self, day: date) -> np.ndarray:
        """Return the mask of the rows of that labelled date."""
        return pc.equal(self.table["as_of"], pa.scalar(day, pa.date32())).to_numpy()

    def users(self, rows: np.ndarray) -> pa.ChunkedArray:
        return self.table["user_id"].filter(pa.array(rows))

    def labels(self, rows: np.ndarray) -> np.ndarray:
        return self.table[LABEL].to_numpy()[rows]

    def features(self, rows: np.ndarray) -> pd.DataFrame:
        """Return the features of the rows as model input."""
        return self._features(self.table.filter(pa.array(rows)))

    def features_in_blocks(self, rows: np.ndarray) -> Iterator[pd.DataFrame]:
        """Return the same in blocks of at most BLOCK rows, to bound the memory of predictions."""
        return map(self._features, _blocks_of(self.table, rows))

    def _features(self, table: pa.Table) -> pd.DataFrame:
        types = feature_types(self.service)
        return to_model_types(table.select(list(types)).to_pandas(), types)


def build_training_set(
    store: FeatureStore,
    service_names: Sequence[str],
    as_of: date,
    database_url: str,
    samples: Mapping[date, Sample] | None = None,
    *,
    most_rows: int | None = None,
) -> TrainingSet:
    """Join the labelled dates to learn from at `as_of`, their labels as delivered by drops up to `as_of`.

    Args:
        service_names: feature services; the last one has the features of all.
        samples: the dates and their samples, for a reproduction; None chooses them.
        most_rows: about how many rows outside the cohorts it has at most; None for all.

    Raises:
        NothingToLearn: there is no such date.
        Expired: retention removed one of them.
        ServiceNotApplied: the definitions of this code are not applied yet.
    """
    try:
        *others, service = (store.get_feature_service(name) for name in service_names)
    except FeatureServiceNotFoundException as error:
        raise ServiceNotApplied(
            f"{error}: run churn_materialize, whose task apply registers it, then this task"
        ) from error
    # Autocommit, so that no transaction idles while Feast joins on its own connections.
    with connect(database_url, autocommit=True) as connection:
        samples = samples or samples_of(connection, labelled_dates(connection, as_of), most_rows)
        if not samples:
            raise NothingToLearn(
                f"no date up to {as_of} has both labels and a snapshot: load a drop with labels.csv, "
                f"then run {as_of} again"
            )
        parts = [join_features(connection, store, service, day, as_of, sample=samples[day]) for day in sorted(samples)]
    return TrainingSet(as_of, service, pa.concat_tables(parts), tuple(others), samples)


def known_since(connection: Connection, training_set: TrainingSet, drops: Iterable[date]) -> date:
    """Return the earliest AS_OF at which the rows of a training set are known: a function of the rows, whichever AS_OF
    they were read at.

    Args:
        drops: the AS_OFs of the drops of the training set; nothing becomes known between them.
    """
    dates = training_set.dates
    spans = [span for day in dates for span in _other_labels(connection, training_set, day)]
    return min(
        drop
        for drop in drops
        if drop >= dates[-1] and not any((begins or date.min) <= drop < ends for begins, ends in spans)
    )


def _other_labels(connection: Connection, training_set: TrainingSet, day: date) -> list[Any]:
    asked = {"labelled": day, "as_of": training_set.as_of, "event_timestamp": event_timestamp(day)}
    in_sample = training_set.samples.get(day, Sample()).condition("l")
    return execute(connection, "training/other_labels", asked, in_sample=in_sample).fetchall()


def join_features(
    connection: Connection,
    store: FeatureStore,
    service: FeatureService,
    labelled: date,
    as_of: date,
    *,
    sample: Sample,
) -> pa.Table:
    """Return one labelled date's rows, ordered by user_id; a customer without a snapshot of that date has no row."""
    join = of_spark("joins").labelled_rows if joins_by_spark(store) else _labelled_rows
    joined = join(connection, store, service, labelled, as_of, sample=sample).sort_by("user_id")
    columns = {
        "user_id": joined["user_id"],
        "as_of": pa.repeat(pa.scalar(labelled, pa.date32()), len(joined)),
        LABEL: joined[LABEL],
    }
    return pa.table({**columns, **{name: joined[name] for name in feature_types(service)}})


def _labelled_rows(
    connection: Connection,
    store: FeatureStore,
    service: FeatureService,
    labelled: date,
    as_of: date,
    *,
    sample: Sample,
) -> pa.Table:
    """Join in Postgres, as churn.spark.joins.labelled_rows() does by Spark."""
    query = sql.SQL(statement("training/entities")).format(
        labelled=sql.Literal(labelled),
        as_of=sql.Literal(as_of),
        event_timestamp=sql.Literal(event_timestamp(labelled)),
        in_sample=sample.condition("l"),
    )
    # An entity query instead of a data frame: Feast uploads nothing.
    return store.get_historical_features(entity_df=query.as_string(connection), features=service).to_arrow()


def score_rows(pipeline: Pipeline, training_set: TrainingSet, rows: np.ndarray) -> np.ndarray:
    """Return the probability of churn of those rows of a training set; equal selections have scores equal to the bit.

    Raises:
        ValueError, KeyError: the pipeline needs features that the training set lacks.
    """
    return np.concatenate([np.empty(0), *(score(pipeline, block) for block in training_set.features_in_blocks(rows))])


def _blocks_of(table: pa.Table, rows: np.ndarray) -> Iterator[pa.Table]:
    """Yield the rows in blocks without a full copy. Equal rows give equal blocks, because the block size decides the
    last bit of a score."""
    places = np.flatnonzero(rows)
    for begin in range(0, len(places), BLOCK):
        yield table.take(places[begin : begin + BLOCK])
