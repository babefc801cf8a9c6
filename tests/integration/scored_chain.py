"""Chains of AS_OFs with a version in Production and their lists, set up once: one worker of pytest-xdist runs their
folders (tests/conftest.py)."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from churn.outcome import DONE, Outcome
from churn.scores.scoring_step import score_customers
from churn.synthetic.generate import write_drops
from tests.conftest import FEBRUARY, JANUARY, REAL_DROPS, database_copy, tracking
from tests.integration.conftest import Pipeline
from tests.integration.copied_chains import Chains
from tests.integration.training_chain import QUICK, Chain

SHARE = 0.10


@dataclass(frozen=True)
class Lists:
    """A database `churn` with a chain, and the place of the files."""

    chain: Chain
    files: Path

    @property
    def database_url(self) -> str:
        return self.chain.database_url

    def score(self, as_of: date) -> Outcome:
        return score_customers(as_of, self.database_url, str(self.files), SHARE)

    def query(self, statement: str, *values: object) -> list[dict]:
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            return connection.execute(statement, values).fetchall()

    def current(self, as_of: date) -> list[dict]:
        return self.query("SELECT * FROM scores.current WHERE as_of = %s ORDER BY rank", as_of)

    def folder(self, as_of: date, revision: int) -> Path:
        return self.files / f"as_of={as_of}" / f"revision={revision}"


@pytest.fixture(scope="session")
def real(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """The two real drops, trained and decided, each scored as its chain ended."""
    if not REAL_DROPS.is_dir():
        pytest.skip("the real drops are not beside this checkout (../shared/data/drops)")
    directory = tmp_path_factory.mktemp("real")
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory),
    ):
        lists = Lists(Chain(Pipeline(database_url, REAL_DROPS, directory / "archive")), directory / "scores")
        for as_of in (JANUARY, FEBRUARY):
            lists.chain(as_of, QUICK)
            lists.score(as_of)
        yield lists


@pytest.fixture
def small(postgres_url, churn_template, mlflow_template, tmp_path):
    """Two generated months that are not loaded yet, and an empty registry."""
    landing = tmp_path / "landing"
    write_drops(landing, customers=1500, months=2, seed=11)
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, tmp_path),
    ):
        yield Lists(Chain(Pipeline(database_url, landing, tmp_path / "archive")), tmp_path / "scores")


def lists_of(chain: Chain) -> Lists:
    """The lists of a chain, beside its landing directory."""
    return Lists(chain, chain.pipeline.landing.parent / "scores")


@contextmanager
def copied_lists(chains: Chains, begin: Callable[[Chain], Any], original: Path, directory: Path) -> Iterator[Lists]:
    """A copy in `directory` of the lists that `begin` made in `original`, where it is called once for all copies."""
    with chains.after((begin,), directory / "archive") as chain:
        for name in ("landing", "scores"):
            shutil.copytree(original / name, directory / name)
        yield lists_of(Chain(Pipeline(chain.database_url, directory / "landing", directory / "archive")))


@pytest.fixture(scope="session")
def two_months(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """Two generated months, as chains to begin with, and their directory."""
    directory = tmp_path_factory.mktemp("two-months")
    write_drops(directory / "landing", customers=1500, months=2, seed=11)
    chains = Chains(postgres_url, (churn_template, mlflow_template), directory / "landing", directory)
    yield chains, directory
    chains.close()


def score_january(chain: Chain) -> None:
    chain(JANUARY, QUICK)
    assert lists_of(chain).score(JANUARY).outcome == DONE


@pytest.fixture
def scored(two_months, tmp_path):
    """January of two generated months, promoted and scored."""
    with copied_lists(two_months[0], score_january, two_months[1], tmp_path) as lists:
        yield lists
