"""Scores a snapshot in blocks: from Feast's batches to the temporary tables `scored` and `reasons`.

Memory is bounded by constants. The features wait in a file between the two passes, because the top decile is known only
when every customer is scored.
"""

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
from psycopg import sql

from churn.postgres.copy import copy_rows
from churn.postgres.database import Connection, execute
from churn.registry.version_scorer import VersionScorer
from churn.scores.arms import arms
from churn.scoring.explanation import explain

log = logging.getLogger(__name__)

SCORED, REASONS = sql.Identifier("pg_temp", "scored"), sql.Identifier("pg_temp", "reasons")

REASONS_EACH = 3
"""Reasons of each customer in the top decile."""

EXPLAINED_AT_ONCE = 1_000
"""Customers: with 50 background rows and 25 columns about 10 MB."""

PROGRESS_EVERY = 500_000
"""Customers between two lines of progress in the log."""


def stage_scores(
    connection: Connection, batches: Iterable[pa.RecordBatch], model: VersionScorer, control_share: float
) -> None:
    """Fill the temporary tables `scored` (every customer) and `reasons` (the top decile).

    Args:
        batches: user_id, fee, and every feature of the model.
    """
    execute(connection, "scores/create_staging")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "features.arrow"
        copied = copy_rows(connection, SCORED, _score(batches, model, control_share, file))
        if copied and model.background:
            copy_rows(connection, REASONS, _explain_top(connection, model, file))


def _score(
    batches: Iterable[pa.RecordBatch], model: VersionScorer, control_share: float, file: Path
) -> Iterator[pa.Table]:
    writer, done = None, 0
    try:
        for batch in batches:
            probability = pa.array(model.scorer.probabilities_of(batch))
            features = batch.append_column("probability", probability)
            writer = writer or pyarrow.ipc.new_file(file, features.schema)
            writer.write_batch(features)
            users = batch["user_id"]
            yield pa.table({
                "user_id": users,
                "churn_probability": probability,
                "monthly_fee": batch["fee"],
                "arm": pa.array(arms(users.to_pylist(), control_share)),
            })  # fmt: skip
            if (done + len(batch)) // PROGRESS_EVERY > done // PROGRESS_EVERY:
                log.info("%d customers scored", done + len(batch))
            done += len(batch)
    finally:
        if writer:
            writer.close()


def _explain_top(connection: Connection, model: VersionScorer, file: Path) -> Iterator[pa.Table]:
    found = execute(connection, "scores/last_of_top_decile").fetchone()
    assert found is not None
    names = list(model.background[0])
    with pa.memory_map(str(file)) as source, pyarrow.ipc.open_file(source) as reader:
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            top = batch.filter(_is_top(batch, *found))
            for begin in range(0, len(top), EXPLAINED_AT_ONCE):
                block = top.slice(begin, EXPLAINED_AT_ONCE)
                effects = explain(model.scorer, block.select(names).to_pylist(), model.background, REASONS_EACH)
                texts = [json.dumps([vars(effect) for effect in each]) for each in effects]
                yield pa.table({"user_id": block["user_id"], "reasons": pa.array(texts)})


def _is_top(batch: pa.RecordBatch, probability: float, user_id: str) -> pa.BooleanArray:
    """Return the mask of the customers who rank no lower than the last one of the top decile."""
    own = batch["probability"]
    return pc.or_(
        pc.greater(own, probability),
        # Arrow compares texts by their bytes, as the collation "C" does.
        pc.and_(pc.equal(own, probability), pc.less_equal(batch["user_id"], user_id)),
    )
