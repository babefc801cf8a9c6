"""Reading the artifacts of a run."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pyarrow.parquet
from mlflow import MlflowClient


class Artifacts:
    """The artifacts of a run, each fetched into `directory` when it is asked for; what there is, is listed first: at
    its top, and in those of `folders` that it has."""

    def __init__(self, client: MlflowClient, run_id: str, directory: Path, folders: Iterable[str]) -> None:
        self.run_id, self.directory = run_id, directory
        found = [each for folder in (None, *folders) for each in client.list_artifacts(run_id, folder)]
        self.files = {each.path for each in found if not each.is_dir}

    def has(self, path: str) -> bool:
        return path in self.files

    def text(self, path: str) -> str | None:
        """Return a file's text, None where there is none."""
        return self._fetch(path).read_text(encoding="utf-8") if self.has(path) else None

    def json(self, path: str) -> Any:
        """Return what a file of JSON says, an empty dict where there is none."""
        return json.loads(self.text(path) or "{}")

    def table(self, path: str) -> pa.Table | None:
        """Return a Parquet file's table, None where there is none. It is read whole: the directory may go."""
        return pyarrow.parquet.read_table(self._fetch(path), memory_map=False) if self.has(path) else None

    def _fetch(self, path: str) -> Path:
        return Path(
            mlflow.artifacts.download_artifacts(run_id=self.run_id, artifact_path=path, dst_path=str(self.directory))
        )
