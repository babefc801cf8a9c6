"""The files of an MLflow run and of its models that hold customers, and each of them without some customers.

Every Parquet file with a column user_id holds customers, whichever step logged it. Golden rows and the input example of
a model have features without an id: they are found by the customers' rows of the training set that the run keeps, and
stay where it keeps none. Text holds an id only if a person wrote it.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from mlflow.store.artifact.artifact_repo import ArtifactRepository

from churn.erasure import tables
from churn.erasure.texts import Mentions
from churn.registry import artifacts, provenance
from churn.registry.evidence import EVIDENCE
from churn.training.lineage import LINEAGE, TRAINING_SET

TRAINING_SETS, IN_EVIDENCE, DECISIONS, MODELS, OTHERS = PLACES = tuple(
    f"MLflow: {each}" for each in ("training sets", "evidence", "decisions", "models", "other files")
)

GOLDEN = f"{EVIDENCE}/golden.parquet"
TRAINED_ON = f"{EVIDENCE}/trained_on.parquet"
SCORE = "score"

EXAMPLES = ("input_example.json", "serving_input_example.json")
"""MLflow's files of a model's input example: its first golden rows."""

OF_CODE = (*provenance.FILES, LINEAGE, "feature_schema.json", "conda.yaml", "python_env.yaml", "requirements.txt")
"""Files that hold no text of a person. Hashes of some are recorded, and others would break with a changed word."""

TEXT = {".csv", ".html", ".json", ".jsonl", ".log", ".md", ".svg", ".tsv", ".txt", ".xml", ".yaml", ".yml"}

LARGEST = 2**63
"""Files of any size are read: a training set has 64 MB at most, but one that was logged by hand may have more."""


@dataclass(frozen=True)
class RunFile:
    """A file of a run or of one of its models, and its place in the report of a request."""

    repository: ArtifactRepository
    path: str
    place: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def makes_version(self) -> bool:
        """Tell whether the run's version cannot be reproduced without a customer in it: it is the training set, or the
        evidence that a reproduction is compared with. Both hold the cohorts, which the version did not learn from.
        """
        return self.place in (TRAINING_SETS, IN_EVIDENCE)

    def fetch(self, directory: Path) -> Path | None:
        """Download it; None if it was deleted meanwhile."""
        return artifacts.fetch(self.repository, self.path, directory, LARGEST)


@dataclass(frozen=True)
class Change:
    """A file without the customers, ready to be uploaded, and the number of removed rows or mentions."""

    file: RunFile
    new: Path
    rows: int

    def upload(self) -> None:
        artifacts.replace(self.file.repository, self.file.path, self.new)


def files_of(run_id: str) -> list[RunFile]:
    """Return the files of a run and its models, the training set last: the others are found by it.

    Raises:
        ArtifactRefused: the MLflow server does not serve them.
        mlflow.exceptions.MlflowException: MLflow is unavailable.
    """
    of_run = artifacts.of_run(run_id)
    found = [RunFile(of_run, path, _place_of(path)) for path in artifacts.walk(of_run)]
    for each in artifacts.of_models(run_id):
        found += [RunFile(each, path, MODELS) for path in artifacts.walk(each)]
    return sorted(found, key=lambda file: file.place == TRAINING_SETS)


def changes_of(files: list[RunFile], users: frozenset[str], directory: Path) -> Iterator[Change]:
    """Yield each file that holds these customers, without them, in the order of `files`. It is uploaded by the caller.

    Args:
        files: see files_of().
        directory: a temporary one, where the changed files stay.
    """
    customers = _Customers(users, _learned(files, users, directory), Mentions(users))
    for number, file in enumerate(files):
        if old := _fetched(file, directory):
            new = directory / f"{number}" / file.name
            new.parent.mkdir()
            if rows := _copy_without(file, old, new, customers):
                yield Change(file, new, rows)
            old.unlink()


def learned_from(files: Iterable[RunFile], changed: Iterable[RunFile]) -> bool:
    """Tell whether the version of a run was trained on customers who are removed from these files of it.

    TRAINED_ON says so. Retention deletes it with the other evidence, file by file: without it the version counts as
    trained on them if its training set or its evidence has them, although they may be of a cohort.

    Args:
        files: all files of the run, see files_of().
        changed: those that hold the customers.
    """
    if any(file.path == TRAINED_ON for file in files):
        return any(file.path == TRAINED_ON for file in changed)
    return any(file.makes_version for file in changed)


def rows_in(files: list[RunFile], user: str, directory: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a customer by the path of the file, of each Parquet file that has some."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        if file.path.endswith(".parquet") and (local := _fetched(file, directory)):
            if tables.has_users(local) and len(rows := tables.rows_of(local, {user})):
                found[file.path] = tables.to_json(rows)
            local.unlink()
    return found


def _place_of(path: str) -> str:
    if path == TRAINING_SET:
        return TRAINING_SETS
    return {EVIDENCE: IN_EVIDENCE, "decisions": DECISIONS}.get(path.partition("/")[0], OTHERS)


def _fetched(file: RunFile, directory: Path) -> Path | None:
    is_read = file.path.endswith(".parquet") or Path(file.name).suffix in TEXT
    return file.fetch(directory) if is_read and file.name not in OF_CODE else None


@dataclass(frozen=True)
class _Customers:
    """The customers to remove, their rows of the kept training set (None without one), and their ids in text."""

    users: frozenset[str]
    learned: pa.Table | None
    mentions: Mentions


def _learned(files: list[RunFile], users: frozenset[str], directory: Path) -> pa.Table | None:
    for file in files:
        if file.place == TRAINING_SETS and (local := file.fetch(directory)):
            rows = tables.rows_of(local, users) if tables.has_users(local) else None
            local.unlink()
            return rows
    return None


def _copy_without(file: RunFile, old: Path, new: Path, customers: _Customers) -> int:
    """Write the file without the customers and return the number of removed rows; write nothing if there are none."""
    learned = customers.learned
    if old.suffix == ".parquet":
        if tables.has_users(old):
            return tables.copy_without(old, new, tables.of_users(customers.users))
        if file.path == GOLDEN and learned:
            names = [each for each in tables.columns_of(old) if each != SCORE]
            return tables.copy_without(old, new, tables.of_values(_values(learned, names), names))
        return 0
    text = _text_of(old)
    if file.place == MODELS and file.name in EXAMPLES:
        text, rows = _example_without(text, learned) if learned else (text, 0)
    else:
        text, rows = customers.mentions.erased_from(text)
    if rows:
        new.write_bytes(text.encode())
    return rows


def _text_of(file: Path) -> str:
    """Return the text of a file, empty if it is none."""
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError:
        return ""


def _values(learned: pa.Table, names: list[str]) -> frozenset[tuple[Any, ...]]:
    """Return the customers' values of these features; none if the training set lacks one."""
    known = set(names) <= set(learned.column_names)
    return frozenset(tables.values_of(learned, names)) if known else frozenset()


def _example_without(text: str, learned: pa.Table) -> tuple[str, int]:
    """Return an input example in pandas' orient "split" without the customers' rows, and their number."""
    said = json.loads(text)
    split = said.get("dataframe_split", said) if isinstance(said, dict) else {}
    if not {"columns", "data"} <= split.keys():
        # Of a model that was logged by hand.
        return text, 0
    values = _values(learned, split["columns"])
    kept = [row for row in split["data"] if tuple(map(tables.plain, row)) not in values]
    removed = len(split["data"]) - len(kept)
    split["data"] = kept
    return json.dumps(said, indent=None if split is said else 2), removed
