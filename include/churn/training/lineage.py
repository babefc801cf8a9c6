"""Lineage: the inputs of a model version, logged to its run so that the version can be reproduced.

lineage.json records the data (drops with their files, queries, digest of the training set), the code, the parameters
with their seeds, and the environment. The training set is logged too unless it is too large.
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
"""Maximum bytes of a logged training set as compressed Parquet; above, only its digest is kept. 64 MB (4.5 million
rows) a day make 23 GB of artifacts a year, and the archive can reproduce the set."""

NOT_REPRODUCED = "train_seconds"
"""The one metric that depends on the load of the machine."""

ROWS_AT_ONCE = 100_000
"""Rows written between checks of the size, so that writing stops soon after the limit."""

QUERIES = ("training", "offline", "snapshots")
"""The files of include/sql/ whose statements build a training set from the loaded drops."""


def read_revisions(drops: Mapping[date, str], database_url: str) -> dict[str, Any]:
    """Return the record needed to reload each drop, by its AS_OF as text: revision, validated_at, digest, rules, files.

    Args:
        drops: the sha256 of each drop's content, by AS_OF.
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
        "feature_service": candidate.service.name,
        "drops": dict(revisions),
        "queries": queries(),
        "training_set": {
            "digest": identity["data_digest"],
            "rows": len(training_set.table),
            "dates": [day.isoformat() for day in training_set.dates],
            "samples": {day.isoformat(): asdict(sample) for day, sample in training_set.samples.items()},
        },
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
    """Return the statements that build a training set, by name."""
    return {f"{subject}/{name}": text for subject in QUERIES for name, text in statements(subject).items()}


def code() -> dict[str, Any]:
    """Return the sha256 of the training code, the git commit, and whether the working tree is clean."""
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
    """Write the table and return the file's size; if it is too large, delete the file and return None."""
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
    """Return the lineage of a run, None if it has none."""
    with tempfile.TemporaryDirectory() as directory:
        file = artifacts.fetch(artifacts.of_run(run_id), LINEAGE, Path(directory))
        return json.loads(file.read_text(encoding="utf-8")) if file else None


def read_kept_set(run_id: str) -> pa.Table | None:
    """Return the training set of a run, None if it keeps none."""
    with tempfile.TemporaryDirectory() as directory:
        file = artifacts.fetch(artifacts.of_run(run_id), TRAINING_SET, Path(directory))
        # No memory map: the temporary file is deleted on return.
        return pyarrow.parquet.read_table(file, memory_map=False) if file else None


def code_differences(lineage: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words how the running code differs from the recorded code."""
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
    """Yield in words how the checkout differs, including files that do not affect a version."""
    then, now = lineage["code"], code()
    if then["commit"] != now["commit"]:
        yield f"the commit was {then['commit'][:12]}, is {now['commit'][:12]}"
    for when, checkout in (("was", then), ("is", now)):
        if not checkout["clean"]:
            yield f"the tree {when} not clean: its commit {checkout['commit'][:12]} does not say all of it"
