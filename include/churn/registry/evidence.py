"""What the run of a candidate keeps of it for others: the gate, reports, serving, and whoever makes it again."""

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
    """What a run keeps for the gate, as artifacts below EVIDENCE: see churn.training.candidate for each."""

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
    """Return one of the tables of RunEvidence that a run keeps, or some of its columns."""
    with _fetched(run_id, name) as file:
        # Read whole: the file is gone when this returns.
        return pyarrow.parquet.read_table(file, columns=columns, memory_map=False)


def read_trained_on(run_id: str) -> Iterator[str]:
    """Yield the customers that a run's version was trained on, a block of them in memory at a time: they are most of
    all."""
    with _fetched(run_id, "trained_on") as file, pyarrow.parquet.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(columns=["user_id"]):
            yield from batch["user_id"].to_pylist()


def keeps_evidence(run_id: str) -> bool:
    """Tell whether that run keeps evidence; one that is not there any more, or keeps its files elsewhere, does not."""
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
            raise FileNotFoundError(f"run {run_id} keeps no {path}")
        yield found
