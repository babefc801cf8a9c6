"""A version in Production that learned from January, and its list of January; each test has a copy of the database."""

import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from churn.drift.step import compare_columns
from churn.outcome import Outcome
from churn.scores.scoring_step import score_customers
from churn.synthetic.generate import write_drops
from tests.conftest import JANUARY, close_connections, database_copy, tracking
from tests.integration.conftest import Pipeline
from tests.integration.training_chain import QUICK, Chain

CUSTOMERS = 6000


@dataclass(frozen=True)
class World:
    """A database `churn` with a chain, and its directories."""

    chain: Chain
    directory: Path

    @property
    def database_url(self) -> str:
        return self.chain.database_url

    @property
    def landing(self) -> Path:
        return self.chain.pipeline.landing

    def load(self, as_of: date) -> None:
        self.chain.pipeline.snapshot(as_of)

    def score(self, as_of: date) -> Outcome:
        return score_customers(as_of, self.database_url, str(self.directory / "scores"), 0.1)

    def compare(self, as_of: date) -> Outcome:
        return compare_columns(as_of, self.database_url)

    def run(self, as_of: date) -> Outcome:
        """Load, score and compare an AS_OF."""
        self.load(as_of)
        self.score(as_of)
        return self.compare(as_of)

    def query(self, statement: str, *values: object) -> list[dict]:
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            return connection.execute(statement, values).fetchall()

    def edit(self, as_of: date, file: str, column: str, change) -> None:
        """Give a column of a drop other values: `change` gets the list of its texts."""
        drop = self.landing / str(as_of)
        (drop / "manifest.json").unlink(missing_ok=True)
        header = (drop / file).read_text(encoding="utf-8").splitlines()[0].split(",")
        texts = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()))
        table = pyarrow.csv.read_csv(drop / file, convert_options=texts)
        changed = pa.array(change(table[column].to_pylist()), pa.string())
        table = table.set_column(table.column_names.index(column), column, changed)
        rows = [",".join("" if value is None else value for value in row.values()) for row in table.to_pylist()]
        (drop / file).write_text("\n".join([",".join(header), *rows]) + "\n", encoding="utf-8")


def name_of(database_url: str) -> str:
    return str(conninfo_to_dict(database_url)["dbname"])


@pytest.fixture(scope="package")
def trained(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """January, promoted and scored, and two later months that are not loaded yet."""
    directory = tmp_path_factory.mktemp("drift")
    write_drops(directory / "landing", customers=CUSTOMERS, months=3, seed=11)
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory),
    ):
        world = World(Chain(Pipeline(database_url, directory / "landing", directory / "archive")), directory)
        world.chain(JANUARY, QUICK)
        world.score(JANUARY)
        close_connections(postgres_url("postgres"), name_of(database_url))
        yield world


@pytest.fixture
def world(trained, postgres_url, tmp_path):
    shutil.copytree(trained.landing, tmp_path / "landing")
    with database_copy(postgres_url, name_of(trained.database_url)) as database_url:
        pipeline = Pipeline(database_url, tmp_path / "landing", trained.directory / "archive")
        yield World(Chain(pipeline), tmp_path)
