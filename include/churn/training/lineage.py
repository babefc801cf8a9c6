"""Lineage: what a model version was made of, kept with its run so that it can be made again.

lineage.json names the data (the drops, file by file, the queries that joined them, and the digest of what came out),
the code, the parameters with their seeds, and the environment. The training set itself is kept beside it, where it is
not too large.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from mlflow import MlflowClient

from churn.code import git_commit, step_digest
from churn.postgres.database import connect, execute, statements
from churn.registry import artifacts
from churn.training.candidate import Candidate
from churn.training.cohort import SALT
from churn.training.environment import environment
from churn.training.recipe import Parameters
from churn.training.training_set import TrainingSet

LINEAGE = "lineage.json"
TRAINING_SET = "training_set.parquet"

LARGEST_KEPT_SET = 64 * 2**20
"""Bytes of a training set as Parquet, compressed, from which on only its digest is kept. 42,000 rows (7,000 customers,
six dates) take 0.6 MB. A version of 64 MB a day, which is 4.5 million rows, makes 23 GB of artifacts a year: there a
copy of what the archive can give again stops being worth its place."""

NOT_REPRODUCED = "train_seconds"
"""The one metric that says how busy the machine was."""

ROWS_AT_ONCE = 100_000
"""Rows written before the size is looked at: one that is too large costs no more than what would have been kept."""

QUERIES = ("training", "offline", "snapshots")
"""The files of include/sql/ whose statements make a training set out of the loaded drops."""


def read_revisions(drops: Mapping[date, str], database_url: str) -> dict[str, Any]:
    """Return what it takes to load each drop again, by its AS_OF as text: revision, validated_at, digest,
    rules and files.

    Args:
        drops: the sha256 of the content of the drop of each AS_OF.
    """
    with connect(database_url) as connection:
        asked = {"as_ofs": list(drops), "digests": list(drops.values())}
        found = execute(connection, "lineage/revisions", asked).fetchall()
    return {
        as_of.isoformat(): {
            "revision": revision,
            "validated_at": validated_at.isoformat(),
            "digest": digest,
            "rules": rules,
            "files": files,
        }
        for as_of, revision, validated_at, digest, rules, files in found
    }  # fmt: skip


def lineage_of(
    candidate: Candidate,
    training_set: TrainingSet,
    parameters: Parameters,
    identity: Mapping[str, str],
    revisions: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the lineage of a candidate.

    Args:
        identity: the tags as_of and data_digest of its version.
        revisions: see read_revisions().
    """
    return {
        "as_of": identity["as_of"],
        "feature_service": training_set.service.name,
        "drops": dict(revisions),
        "queries": queries(),
        "training_set": {"digest": identity["data_digest"], "rows": len(training_set.table)},
        "parameters": parameters.to_json(),
        "seeds": {"random_state": parameters.random_state, "cohort_salt": SALT},
        "recipe": asdict(candidate.selection.recipe),
        "threshold": candidate.threshold,
        "metrics": {name: value for name, value in candidate.metrics.items() if name != NOT_REPRODUCED},
        "code": code(),
        "environment": environment(),
    }


@cache
def queries() -> dict[str, str]:
    """Return the text of each statement that a training set is made by, by its name."""
    return {f"{subject}/{name}": text for subject in QUERIES for name, text in statements(subject).items()}


def code() -> dict[str, Any]:
    """Return what code this is: the sha256 of what runs, the commit, and whether the tree was that commit's."""
    commit = git_commit()
    return {
        "digest": step_digest(__package__),
        "commit": commit.removesuffix("-dirty"),
        "clean": commit != "unknown" and not commit.endswith("-dirty"),
    }


def log_lineage(run_id: str, lineage: Mapping[str, Any], training_set: TrainingSet) -> None:
    """Log lineage.json, and the training set as Parquet unless it is larger than LARGEST_KEPT_SET."""
    with tempfile.TemporaryDirectory() as directory:
        size = _write(training_set.table, Path(directory) / TRAINING_SET)
        kept = {"kept_as": TRAINING_SET if size else None, "kept_bytes": size}
        said = {**lineage, "training_set": lineage["training_set"] | kept}
        (Path(directory) / LINEAGE).write_text(json.dumps(said, indent=2), encoding="utf-8")
        MlflowClient().log_artifacts(run_id, directory)


def _write(table: pa.Table, file: Path) -> int | None:
    """Write the table and return its size as a file; where that is too large, leave no file and return None."""
    with pa.OSFile(str(file), "wb") as out, pyarrow.parquet.ParquetWriter(out, table.schema, compression="zstd") as to:
        for start in range(0, len(table), ROWS_AT_ONCE):
            to.write_table(table.slice(start, ROWS_AT_ONCE))
            if out.tell() > LARGEST_KEPT_SET:
                break
    size = file.stat().st_size
    if size > LARGEST_KEPT_SET:
        file.unlink()
        return None
    return size


def read_lineage(run_id: str) -> dict[str, Any] | None:
    """Return the lineage of a run, None where it has none."""
    with tempfile.TemporaryDirectory() as directory:
        file = artifacts.fetch(artifacts.of_run(run_id), LINEAGE, Path(directory))
        return json.loads(file.read_text(encoding="utf-8")) if file else None


def read_kept_set(run_id: str) -> pa.Table | None:
    """Return the training set that a run keeps, None where it keeps none."""
    with tempfile.TemporaryDirectory() as directory:
        file = artifacts.fetch(artifacts.of_run(run_id), TRAINING_SET, Path(directory))
        # Read whole: the file is gone when this returns.
        return pyarrow.parquet.read_table(file, memory_map=False) if file else None


def code_differences(lineage: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words how what runs differs from what ran: nothing, where the code's digest is the same."""
    if lineage["code"]["digest"] == step_digest(__package__):
        return
    # Versions from before 0.2.0 recorded the statements by their files.
    then = {name.removesuffix(".sql"): text.strip() for name, text in lineage["queries"].items()}
    now = queries()
    changed = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    yield (
        f"the code of training had the sha256 {lineage['code']['digest'][:12]}…, has {step_digest(__package__)[:12]}…"
        + (f", the SQL of {' and '.join(changed)} among it" if changed else "")
    )


def commit_differences(lineage: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words how the checkout differs; files that nothing of a version comes from may do so, too."""
    then, now = lineage["code"], code()
    if then["commit"] != now["commit"]:
        yield f"the commit was {then['commit'][:12]}, is {now['commit'][:12]}"
    for when, checkout in (("was", then), ("is", now)):
        if not checkout["clean"]:
            yield f"the tree {when} not clean: its commit {checkout['commit'][:12]} does not say all of it"
