"""Evidence artifacts of a candidate's run, for the gate, reports, serving and reproduction."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from churn.registry import artifacts
from churn.registry.artifacts import ArtifactRefused
from churn.registry.client import is_missing

EVIDENCE = "evidence"


@dataclass(frozen=True)
class RunEvidence:
    """Tables that a run keeps as artifacts below EVIDENCE; churn.training.candidate describes each."""

    grades: pa.Table
    audit: pa.Table
    trained_on: pa.Table
    golden: pa.Table

    def log(self, run_id: str) -> None:
        with tempfile.TemporaryDirectory() as directory:
            for name in self.__dataclass_fields__:
                file = Path(directory) / f"{name}.parquet"
                pyarrow.parquet.write_table(getattr(self, name), file, compression="zstd")
            MlflowClient().log_artifacts(run_id, directory, EVIDENCE)


def read_evidence(run_id: str, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return one of the run's RunEvidence tables, or some of its columns."""
    with _fetched(run_id, name) as file:
        # No memory map: the file is deleted on return.
        return pyarrow.parquet.read_table(file, columns=columns, memory_map=False)


def read_trained_on(run_id: str) -> Iterator[str]:
    """Yield the customers that a run's version was trained on, in blocks to bound memory."""
    with _fetched(run_id, "trained_on") as file, pyarrow.parquet.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(columns=["user_id"]):
            yield from batch["user_id"].to_pylist()


def keeps_evidence(run_id: str) -> bool:
    """Tell whether the run keeps evidence; a deleted run, or one with artifacts in a foreign store, does not."""
    if not run_id:
        return False
    try:
        return bool(artifacts.sizes(artifacts.of_run(run_id), EVIDENCE))
    except ArtifactRefused:
        return False
    except MlflowException as error:
        if is_missing(error):
            return False
        raise


@contextmanager
def _fetched(run_id: str, name: str) -> Iterator[Path]:
    path = f"{EVIDENCE}/{name}.parquet"
    with tempfile.TemporaryDirectory() as directory:
        found = artifacts.fetch(artifacts.of_run(run_id), path, Path(directory))
        if found is None:
            raise FileNotFoundError(f"run {run_id} has no {path}")
        yield found
