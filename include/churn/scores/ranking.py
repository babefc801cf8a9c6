"""From Feast's batches to the rows of the list: every customer is scored, then ranked, and the top decile explained.

The features wait in a file between the two passes, because ranks are known only when every customer is scored. Memory
holds id, score and fee of every customer, and the features of the top decile: at a million some 100 MB.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from churn.registry.version_scorer import VersionScorer
from churn.scores.arms import arms
from churn.scores.files import ROWS_AT_ONCE, SCHEMA
from churn.scoring.explanation import explain
from churn.scoring.scorer import Scorer

log = logging.getLogger(__name__)

REASONS_EACH = 3
"""Reasons of each customer in the top decile."""

EXPLAINED_AT_ONCE = 500
"""Customers: with 50 background rows and 25 columns about 5 MB."""

PROGRESS_EVERY = 500_000
"""Customers between two lines of progress in the log."""

BY_RISK = [("churn_probability", "descending"), ("user_id", "ascending")]
"""The order of the list. Arrow compares texts by their bytes, as the collation "C" does."""


def score_batches(batches: Iterable[pa.RecordBatch], scorer: Scorer, file: Path) -> int:
    """Write the batches and each customer's churn_probability into an Arrow file; return the number of customers.

    Args:
        batches: user_id, fee, and every feature of the model.
    """
    writer, done = None, 0
    try:
        for batch in batches:
            scored = batch.append_column("churn_probability", pa.array(scorer.probabilities_of(batch)))
            writer = writer or pyarrow.ipc.new_file(file, scored.schema)
            writer.write_batch(scored)
            if (done + len(batch)) // PROGRESS_EVERY > done // PROGRESS_EVERY:
                log.info("%d customers scored", done + len(batch))
            done += len(batch)
    finally:
        if writer:
            writer.close()
    return done


def ranked_rows(file: Path, model: VersionScorer, values: Mapping[str, Any]) -> Iterator[pa.Table]:
    """Yield the rows of the list, SCHEMA, by rank, in tables of ROWS_AT_ONCE rows.

    Args:
        file: written by score_batches().
        values: as_of, revision, model_version, threshold and control_share.
    """
    with pa.memory_map(str(file)) as source, pyarrow.ipc.open_file(source) as reader:
        features = reader.read_all()
        scored = features.select(["user_id", "churn_probability", "fee"]).combine_chunks()
        order = pc.sort_indices(scored, sort_keys=BY_RISK)
        # Ten groups of sizes that differ by one at most, the larger ones first.
        sizes = [len(part) for part in np.array_split(np.empty(len(order)), 10)]
        decile = np.repeat(np.arange(1, 11), sizes)
        top = features.take(order[: sizes[0]])
        for begin in range(0, len(order), ROWS_AT_ONCE):
            block = scored.take(order[begin : begin + ROWS_AT_ONCE])
            reasons = _reasons(top[begin : begin + ROWS_AT_ONCE], model)
            yield _rows(block, begin, decile[begin : begin + ROWS_AT_ONCE], reasons, values)


def _rows(
    scored: pa.Table, begin: int, decile: np.ndarray, reasons: Sequence[str], values: Mapping[str, Any]
) -> pa.Table:
    """Return the rows of customers in their order, the first of whom has rank `begin` + 1."""
    count, probability, fee = len(scored), scored["churn_probability"], scored["fee"]
    columns = {
        "as_of": pa.repeat(values["as_of"], count),
        "revision": pa.repeat(values["revision"], count),
        "user_id": scored["user_id"],
        "churn_probability": probability,
        "prediction": pc.greater_equal(probability, values["threshold"]),
        "rank": pa.array(np.arange(begin + 1, begin + 1 + count)),
        "decile": pa.array(decile),
        "monthly_fee": fee,
        "revenue_at_risk": pc.multiply(probability, fee),
        "arm": pa.array(arms(scored["user_id"].to_pylist(), values["control_share"])),
        "reasons": pa.array([*reasons, *[None] * (count - len(reasons))], pa.string()),
        "model_version": pa.repeat(values["model_version"], count),
    }
    return pa.table(columns).cast(SCHEMA)


def _reasons(customers: pa.Table, model: VersionScorer) -> list[str]:
    """Return the strongest effects of each customer as JSON; nothing where the version has no background rows."""
    texts: list[str] = []
    names = list(model.background[0]) if model.background else []
    for begin in range(0, len(customers) if names else 0, EXPLAINED_AT_ONCE):
        rows = customers.slice(begin, EXPLAINED_AT_ONCE).select(names).to_pylist()
        for effects in explain(model.scorer, rows, model.background, REASONS_EACH):
            texts.append(json.dumps([vars(effect) for effect in effects]))
    return texts
