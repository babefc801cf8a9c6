"""Read the artifacts of a run."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from churn.registry.artifacts import fetch, of_run, sizes


class Artifacts:
    """The artifacts of a run at its top level and in `folders`, each downloaded into `directory` on demand."""

    def __init__(self, run_id: str, directory: Path, folders: Iterable[str]) -> None:
        self.directory, self._kept = directory, of_run(run_id)
        self.files = {path for folder in (None, *folders) for path in sizes(self._kept, folder)}

    def has(self, path: str) -> bool:
        return path in self.files

    def text(self, path: str) -> str | None:
        """Return a file's text, None if it does not exist."""
        return file.read_text(encoding="utf-8") if (file := self._fetch(path)) else None

    def json(self, path: str) -> Any:
        """Return the content of a JSON file, an empty dict if it does not exist."""
        return json.loads(self.text(path) or "{}")

    def table(self, path: str) -> pa.Table | None:
        """Return a Parquet file's table, None if it does not exist. No memory map: the directory is temporary."""
        return pyarrow.parquet.read_table(file, memory_map=False) if (file := self._fetch(path)) else None

    def _fetch(self, path: str) -> Path | None:
        return fetch(self._kept, path, self.directory) if self.has(path) else None
