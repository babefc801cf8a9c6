"""A chain with a customer whose id can be searched for, and the erasure of customers, task by task as in the DAG."""

import io
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import LiteralString

import psycopg
import pyarrow.parquet
from psycopg import sql

from churn.erasure.archive import erase_archive
from churn.erasure.landing import erase_landing
from churn.erasure.lists import erase_lists
from churn.erasure.models import erase_models
from churn.erasure.request import ERASED, bury, end, open_request, required_directory, write_ids
from churn.erasure.rows import erase_rows
from churn.erasure.sweep import sweep
from churn.scores.scoring_step import score_customers
from churn.synthetic.generate import write_drops
from churn.training.superseded import mark_superseded
from tests.integration.conftest import Pipeline
from tests.integration.training_chain import QUICK, Chain

SHARE = 0.1
"""Of the control arm."""

MARKED = "marked-7Q1-zebra"
"""The customer who is erased. The id is in neither cohort: versions are trained on it."""


@dataclass(frozen=True)
class Stores:
    """The places of a stack that hold rows of customers."""

    database_url: str
    landing: Path
    archive: Path
    lists: Path

    def steps(self, request: str, users: frozenset[str]):
        """Return the tasks of churn_erase between tombstones and end, in order, by name."""
        url = self.database_url
        return {
            "models": lambda: erase_models(request, users, url),
            "landing": lambda: erase_landing(request, users, url, self.landing),
            "archive": lambda: erase_archive(request, users, url, self.archive),
            "rows": lambda: erase_rows(request, users, url),
            "lists": lambda: erase_lists(request, users, url, str(self.lists)),
            "sweep": lambda: sweep(request, users, url),
            "supersede": lambda: mark_superseded(url),
        }

    def begin(self, *users: str) -> str:
        """Write and record a request, and its tombstones; return its name."""
        request = write_ids(users, required_directory())
        open_request(request, "ada", "she asked for it", self.database_url)
        bury(request, self.database_url)
        return request

    def erase(self, *users: str) -> dict:
        """Erase the customers; return the outcome of each task."""
        request = self.begin(*users)
        done = {name: step() for name, step in self.steps(request, frozenset(users)).items()}
        return done | {"end": end(request, ERASED, self.database_url)}


@dataclass(frozen=True)
class Home:
    """A directory with the files of a stack: landing directory, archive, lists, MLflow, and the drops as sent."""

    path: Path
    dates: tuple[date, ...]

    def stores(self, database_url: str) -> Stores:
        return Stores(database_url, self.path / "landing", self.path / "archive", self.path / "scores")


def write_home(path: Path, **scenario: int) -> Home:
    """Write generated drops in which a customer who is in all of them is MARKED."""
    landing = path / "landing"
    (path / "mlflow").mkdir(parents=True)
    write_drops(landing, **scenario)
    dates = tuple(sorted(date.fromisoformat(each.name) for each in landing.iterdir()))
    mark(landing, dates, min(set.intersection(*(set(ids_of(landing / str(day) / "users.csv")) for day in dates))))
    for day in dates:
        # Its hashes are of the drop before it was marked.
        (landing / str(day) / "manifest.json").unlink(missing_ok=True)
    shutil.copytree(landing, path / "sent")
    return Home(path, dates)


def run_chain(home: Home, database_url: str) -> None:
    """Take every date through the chain, with a list and a logged answer, and the last one again with a correction."""
    chain = Chain(Pipeline(database_url, home.path / "landing", home.path / "archive"))
    for day in home.dates:
        chain(day, QUICK)
        score_customers(day, database_url, str(home.path / "scores"), SHARE)
        log_answer(database_url, day)
    correct(home.path / "landing" / str(home.dates[-1]))
    chain(home.dates[-1], QUICK)
    score_customers(home.dates[-1], database_url, str(home.path / "scores"), SHARE)


def log_answer(database_url: str, as_of: date) -> None:
    """Log an answer about the customer, as serving does."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO predictions.answered VALUES (now(), 'r1', %s, 0.5, 1, 0.5, 1, %s, '{}')", (MARKED, as_of)
        )


def correct(drop: Path) -> None:
    """Write a drop again with its subscriptions in another order."""
    path = drop / "subscriptions.csv"
    header, first, *rest = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join([header, *rest[:-1], first, ""]), encoding="utf-8")


def ids_of(path: Path) -> list[str]:
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    place = header.split(",").index("user_id")
    return [line.split(",")[place] for line in lines]


def mark(landing: Path, dates: Iterable[date], customer: str) -> None:
    """Give a customer of generated drops the id MARKED."""
    for as_of in dates:
        for path in (landing / as_of.isoformat()).glob("*.csv"):
            path.write_text(path.read_text(encoding="utf-8").replace(f"{customer},", f"{MARKED},"), encoding="utf-8")


def contents(directory: Path, without: str | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the uncompressed content of each file below a directory, those of `without` left out."""
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        name = str(path.relative_to(directory))
        if without and name.startswith(without):
            continue
        if path.suffix == ".zst":
            with pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd") as stream:
                yield name, stream.read()
        elif path.suffix == ".parquet":
            text = io.StringIO()
            pyarrow.parquet.read_table(path, memory_map=False).to_pandas().to_csv(text, index=False)
            yield name, text.getvalue().encode()
        else:
            yield name, path.read_bytes()


def files_with(directory: Path, user: str = MARKED) -> list[str]:
    return [name for name, content in contents(directory) if user.encode() in content]


def rows_of(database_url: str) -> dict[str, Counter[str]]:
    """Return the rows of every table of a database as JSON, by table; of a partitioned one, as a whole."""
    return _of_every_table(database_url, "SELECT to_jsonb(t)::text FROM {} AS t")


def tables_with(database_url: str, user: str = MARKED) -> list[str]:
    """Return the tables with a row that, as JSON, contains the text."""
    rows = _of_every_table(database_url, "SELECT 'found' FROM {} AS t WHERE strpos(to_jsonb(t)::text, %s) > 0", user)
    return [table for table, found in rows.items() if found]


def _of_every_table(database_url: str, query: LiteralString, *values: str) -> dict[str, Counter[str]]:
    """Return the rows of a query about each table of a database."""
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            """
            SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE relkind IN ('r', 'p') AND NOT relispartition AND nspname NOT IN ('pg_catalog', 'information_schema')
            """
        ).fetchall()
        return {
            f"{schema}.{table}": Counter(
                row for (row,) in connection.execute(sql.SQL(query).format(sql.Identifier(schema, table)), values)
            )
            for schema, table in tables
        }
