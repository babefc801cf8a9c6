"""From Feast's batches to the rows of the list: every customer is scored, then ranked, and the top decile explained.

The features wait in a file between the two passes, because ranks are known only when every customer is scored. Memory
holds the customers of one range of scores at a time.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
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

SORTED_AT_ONCE = 500_000
"""Customers, about: some 100 MB. More only where so many have one score."""

DRAWN = 100_000
"""Scores from which the ranges are chosen."""

PROGRESS_EVERY = 500_000
"""Customers between two lines of progress in the log."""

BY_RISK = [("churn_probability", "descending"), ("user_id", "ascending")]
"""The order of the list. Arrow compares texts by their bytes, as the collation "C" does."""


class NotProbabilities(RuntimeError):
    """The model gave scores that are NaN or outside 0 to 1; no list was written."""


def score_batches(batches: Iterable[pa.RecordBatch], scorer: Scorer, file: Path) -> int:
    """Write the batches and each customer's churn_probability into an Arrow file; return the number of customers.

    Args:
        batches: user_id, fee, and every feature of the model.

    Raises:
        NotProbabilities: a score is NaN or outside 0 to 1.
    """
    return write_scored(
        (batch.append_column("churn_probability", pa.array(scorer.probabilities_of(batch))) for batch in batches), file
    )


def write_scored(batches: Iterable[pa.RecordBatch], file: Path) -> int:
    """Write scored batches into an Arrow file; return the number of customers.

    Raises:
        NotProbabilities: a score is NaN or outside 0 to 1.
    """
    writer, done = None, 0
    try:
        for batch in batches:
            _require_probabilities(batch["churn_probability"].to_numpy(zero_copy_only=False))
            writer = writer or pyarrow.ipc.new_file(file, batch.schema)
            writer.write_batch(batch)
            if (done + len(batch)) // PROGRESS_EVERY > done // PROGRESS_EVERY:
                log.info("%d customers scored", done + len(batch))
            done += len(batch)
    finally:
        if writer:
            writer.close()
    return done


def _require_probabilities(scores: np.ndarray) -> None:
    # NaN fails both comparisons.
    if odd := scores[~((scores >= 0) & (scores <= 1))].tolist():
        raise NotProbabilities(
            f"{len(odd)} of a batch of {len(scores)} scores are NaN or outside 0 to 1, such as {odd[0]}: no list is "
            "written. The version is broken: move another one to Production (make rollback), then run the task again"
        )


def ranked_rows(file: Path, model: VersionScorer, values: Mapping[str, Any]) -> Iterator[pa.Table]:
    """Yield the rows of the list, SCHEMA, by rank, in tables of ROWS_AT_ONCE rows.

    Args:
        file: written by write_scored().
        values: as_of, revision, model_version, threshold, control_share, and rows: the customers in the file.
    """
    # Not as a memory map, whose pages would count as memory of this process.
    with pa.OSFile(str(file)) as source, pyarrow.ipc.open_file(source) as reader:
        count = values["rows"]
        # Ten groups of sizes that differ by one at most, the larger ones first.
        ends = np.cumsum([count // 10 + (group < count % 10) for group in range(10)])
        begin = 0
        for block in _in_tables_of(ROWS_AT_ONCE, _by_risk(reader, count, file.parent)):
            decile = np.searchsorted(ends, np.arange(begin, begin + len(block)), side="right") + 1
            reasons = _reasons(block.filter(decile == 1), model)
            yield _rows(block, begin, decile, reasons, values)
            begin += len(block)


def _by_risk(scored: pa.ipc.RecordBatchFileReader, count: int, directory: Path) -> Iterator[pa.Table]:
    """Yield the customers in the order of the list, in tables of one range of scores each.

    Args:
        directory: for a file of each range.
    """
    edges = _edges(scored, count)
    files = [directory / f"range-{place}.arrow" for place in range(len(edges) + 1)]
    with ExitStack() as stack:
        writers = [stack.enter_context(pyarrow.ipc.new_file(file, scored.schema)) for file in files]
        for batch in _batches(scored):
            places = np.searchsorted(edges, batch["churn_probability"].to_numpy(), side="right")
            for place in np.unique(places):
                writers[place].write_batch(batch.filter(pa.array(places == place)))
    for file in reversed(files):
        with pa.OSFile(str(file)) as source, pyarrow.ipc.open_file(source) as reader:
            table = reader.read_all()
        yield table.take(pc.sort_indices(table, sort_keys=BY_RISK))
        file.unlink()


def _edges(scored: pa.ipc.RecordBatchFileReader, count: int) -> np.ndarray:
    """Return the scores at which a range begins, ascending, but for the lowest range."""
    ranges = max(1, count // SORTED_AT_ONCE)
    if ranges == 1:
        return np.empty(0)
    step = max(1, count // DRAWN)
    # Copies: a view would keep its whole batch in memory.
    drawn = [batch["churn_probability"].to_numpy()[::step].copy() for batch in _batches(scored)]
    return np.unique(np.quantile(np.concatenate(drawn), np.arange(1, ranges) / ranges))


def _batches(scored: pa.ipc.RecordBatchFileReader) -> Iterator[pa.RecordBatch]:
    return map(scored.get_batch, range(scored.num_record_batches))


def _in_tables_of(rows: int, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the same rows in tables of that many rows, but for the last one."""
    rest = None
    for table in tables:
        rest = pa.concat_tables([rest, table]) if rest else table
        while len(rest) >= rows:
            yield rest.slice(0, rows)
            rest = rest.slice(rows)
    if rest:
        yield rest


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
