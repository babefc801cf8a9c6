"""Spark gives what Postgres gives, to the bit: training sets, features and scores, whichever drops came and when."""

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from bench.processes import free_ports, listens, running
from churn.drops.landing import ACCEPT
from churn.drops.storage import storage_at
from churn.drops.withdrawal import withdraw
from churn.features.store import FEATURE_SERVICE, FEATURE_SERVICES, open_offline_store, open_store
from churn.outcome import DONE
from churn.postgres.database import connect
from churn.registry.client import get_version
from churn.registry.version_scorer import VersionScorer
from churn.scores import scoring_step
from churn.scores.ranking import NotProbabilities, score_batches, write_scored
from churn.scores.scoring_step import _features_of, score_customers
from churn.scoring.scorer import Scorer
from churn.spark.manifests import as_ofs, folder_of
from churn.spark.parquet_snapshots import write_parquet
from churn.spark.removal import remove_gone
from churn.spark.scoring import scored_batches
from churn.synthetic.generate import write_drops
from churn.training.sample import Sample
from churn.training.training_set import NothingToLearn, build_training_set, join_features
from tests.conftest import REPOSITORY, THOROUGH, database_copy, tracking
from tests.handmade_drops import take_in, write_drop
from tests.integration.conftest import Pipeline
from tests.integration.law.law_model import ACTION_TEXTS, DATES, USERS, Content, contents
from tests.integration.training_chain import QUICK, Chain

EXAMPLES = 20 if THOROUGH else 3

SETS = 20
"""Sets of customers in a large drop, each drawn by itself. What is joined for a customer depends on no other, so an
example tries as many contents, in the time of one."""


class SumScorer(Scorer):
    """A score of every number of a row; as with the real ones, a row's result does not depend on its batch."""

    def probabilities(self, rows):
        return np.array([1 / (1 + np.exp(-self._sum(row) / 1e4)) for row in rows])

    @staticmethod
    def _sum(row):
        return sum(value for value in row.values() if isinstance(value, int | float))


def arrivals():
    """Drops in any order, corrections and late labels among them; None withdraws the date."""
    return st.sampled_from(DATES).flatmap(
        lambda day: st.tuples(st.just(day), st.one_of(contents(day), large(day), large(day), st.none()))
    )


def large(day):
    return st.lists(contents(day), min_size=SETS, max_size=SETS).map(together)


def together(drops):
    """One drop of the customers, labels and actions of several; without a file that none of them has."""
    customers, labels, actions = {}, {}, set()
    for n, of in enumerate(drops):
        # The first set keeps its ids: the customer who is in every drop is so in small ones too.
        after = f"-{n}" if n else ""
        customers |= {user + after: variant for user, variant in of.customers.items()}
        labels |= {(user + after, day): label for (user, day), label in (of.labels or {}).items()}
        actions |= {(user + after, action, day) for user, action, day in of.actions or ()}
    # Of each date that customer has a row, as in the drops.
    labels |= {(USERS[0], day): True for day in {day for _, day in labels} if (USERS[0], day) not in labels}
    actions |= {(USERS[0], ACTION_TEXTS[0], day) for day in {day for *_, day in actions}}
    return Content(
        customers,
        None if all(of.labels is None for of in drops) else labels,
        None if all(of.actions is None for of in drops) else frozenset(actions),
    )


@pytest.fixture
def own_scorer(spark):
    """Executors cannot import this module."""
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(happened=st.lists(arrivals(), min_size=4, max_size=5))
def test_training_sets_features_and_scores_are_those_of_postgres(
    snapshots, own_scorer, labels_of_a_day, postgres_url, churn_template, tmp_path, happened
):
    world = tmp_path / "world"
    for directory in (world, snapshots):
        shutil.rmtree(directory, ignore_errors=True)
    with database_copy(postgres_url, churn_template) as url:
        for day, content in happened:
            if content is None:
                withdraw(day, "ada", "a test", url)
                remove_gone(url, snapshots)
                continue
            drop = write_drop(
                world / "landing", day, content.texts(), content.label_rows(day), content.action_rows(day)
            )
            (drop.path / ACCEPT).write_text(f"as asked, {day}")
            take_in(drop, url, world / "archive")
            write_parquet(day, url, world / "archive", snapshots)
        assert_equal(url, world)
        with connect(url) as connection:
            built = {day for (day,) in connection.execute("SELECT as_of FROM snapshots.builds")}
    assert {*as_ofs_of(snapshots)} == built
    for day in built:
        assert len([*(snapshots / folder_of(day)).glob("build=*")]) == 1


def assert_equal(url, world):
    world.mkdir(exist_ok=True)
    in_postgres, by_spark = open_store(url), open_offline_store(url)
    service = in_postgres.get_feature_service(FEATURE_SERVICE)
    with connect(url, autocommit=True) as connection:
        for day in as_ofs_of(world.parent / "snapshots"):
            sets = [training_set_of(store, day, url) for store in (in_postgres, by_spark)]
            assert (sets[0] is None) == (sets[1] is None)
            if sets[0]:
                assert sets[0].table.schema == sets[1].table.schema
                assert sets[0].digest == sets[1].digest
            files = [world / "postgres.arrow", world / "spark.arrow"]
            score_batches(_features_of(connection, in_postgres, service, day), SumScorer(), files[0])
            scored = scored_batches(connection, by_spark, service, day, probabilities_of=SumScorer().probabilities_of)
            write_scored(scored, files[1])
            rows = [pa.ipc.open_file(file).read_all().drop_columns("event_timestamp") for file in files]
            assert rows[0].sort_by("user_id").equals(rows[1].select(rows[0].column_names).sort_by("user_id"))


def training_set_of(store, day, url):
    try:
        return build_training_set(store, FEATURE_SERVICES, day, url)
    except NothingToLearn:
        return None


def as_ofs_of(snapshots):
    return as_ofs(storage_at(snapshots))


@pytest.fixture(scope="module")
def chain(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """Two generated months, the first with a version in Production and a list."""
    directory = tmp_path_factory.mktemp("chain")
    write_drops(directory / "landing", customers=1500, months=2, seed=11)
    with (
        database_copy(postgres_url, churn_template) as url,
        tracking(postgres_url, mlflow_template, directory),
    ):
        chain = Chain(Pipeline(url, directory / "landing", directory / "archive"))
        first, second = sorted(date.fromisoformat(each.name) for each in (directory / "landing").iterdir())
        chain(first, QUICK)
        chain(second, QUICK)
        score_customers(second, url, str(directory / "scores"), 0.1)
        yield chain, directory, second


@pytest.mark.parametrize("sample", [Sample(), Sample(others=0.0), Sample(cohorts=0.4, others=0.3)], ids=str)
def test_a_sample_has_the_same_customers(snapshots, chain, sample):
    chain, directory, day = chain
    url = chain.database_url
    write_parquet(day, url, directory / "archive", snapshots)
    with connect(url) as connection:
        service = open_store(url).get_feature_service(FEATURE_SERVICE)
        tables = [
            join_features(connection, opened(url), service, day, day, sample=sample)
            for opened in (open_store, open_offline_store)
        ]
    assert len(tables[0])
    assert tables[0].equals(tables[1])


def test_the_list_of_a_real_version_is_the_same(snapshots, chain):
    chain, directory, day = chain
    url = chain.database_url
    write_parquet(day, url, directory / "archive", snapshots)
    forget_list(url)
    outcome = score_customers(day, url, str(directory / "scores"), 0.1)
    first, last = (directory / "scores" / folder_of(day) / f"revision={n}" for n in (1, outcome.figures["revision"]))
    assert first != last
    assert lists_without_revision(first) == lists_without_revision(last)
    assert [*(snapshots / "scored").iterdir()] == []


class NanScorer(SumScorer):
    """One customer of a batch has no score."""

    def probabilities(self, rows):
        return np.append(super().probabilities(rows)[:-1], np.nan)


def test_scores_that_are_no_probabilities_leave_the_list_as_it_was(snapshots, own_scorer, chain, monkeypatch):
    chain, directory, day = chain
    url, revisions = chain.database_url, directory / "scores" / folder_of(day)
    write_parquet(day, url, directory / "archive", snapshots)
    forget_list(url)
    before = sorted(revisions.iterdir())
    monkeypatch.setattr(scoring_step, "load_scorer", lambda *_: VersionScorer(NanScorer(), []))
    with pytest.raises(NotProbabilities, match="such as nan"):
        score_customers(day, url, str(directory / "scores"), 0.1)
    assert sorted(revisions.iterdir()) == before
    assert [*(snapshots / "scored").iterdir()] == []


@pytest.fixture(scope="module")
def connect_server(tmp_path_factory):
    """The address of a Spark Connect server on this machine."""
    home, (port,) = Path(find_spec("pyspark").origin).parent, free_ports(1)
    if not [*(home / "jars").glob("spark-connect_*.jar")]:
        pytest.skip("this pyspark has no server of Spark Connect")
    directory = tmp_path_factory.mktemp("connect")
    settings_of_it = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
        "spark.sql.shuffle.partitions": 2,
        "spark.ui.enabled": "false",
        "spark.local.dir": directory / "scratch",
        "spark.sql.warehouse.dir": directory / "warehouse",
    }
    command = [
        str(home / "bin" / "spark-class"), "org.apache.spark.deploy.SparkSubmit",
        "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--master", "local[2]",
        *(part for name, value in settings_of_it.items() for part in ("--conf", f"{name}={value}")),
        "spark-internal",
    ]  # fmt: skip
    here = {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    with running(command, directory / "server.log", lambda: listens(port), here):
        yield f"sc://127.0.0.1:{port}"


def test_the_chain_over_spark_connect_gives_what_postgres_gives(snapshots, chain, connect_server):
    chain, directory, day = chain
    url = chain.database_url
    forget_list(url)
    said = run_script(
        "over_connect.py", day, directory / "archive", directory / "scores",
        CHURN_DATABASE_URL=url, SPARK_REMOTE=connect_server,
    )  # fmt: skip
    found = json.loads(said.splitlines()[-1])
    assert found["session"].startswith("pyspark.sql.connect.")
    assert found["written"] == [DONE, DONE]
    assert found["digest"] == chain.training_set(day).digest
    version = get_version(MlflowClient(), found["trained"]["version"])
    assert (found["trained"]["outcome"], version.tags["data_digest"]) == (DONE, found["digest"])
    assert found["decided"]["version"] == version.version
    assert found["listed"]["outcome"] == DONE
    first, last = (directory / "scores" / folder_of(day) / f"revision={n}" for n in (1, found["listed"]["revision"]))
    assert lists_without_revision(first) == lists_without_revision(last)


def test_joins_do_not_depend_on_the_time_zone_of_the_process(snapshots, chain, monkeypatch):
    chain, directory, day = chain
    url = chain.database_url
    write_parquet(day, url, directory / "archive", snapshots)
    expected = build_training_set(open_store(url), FEATURE_SERVICES, day, url, {day: Sample()}).digest
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    try:
        found = build_training_set(open_offline_store(url), FEATURE_SERVICES, day, url, {day: Sample()})
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert found.digest == expected


def test_the_equality_join_finds_what_feasts_own_query_finds(snapshots, spark, chain):
    """Feast's query on the same views, of few rows."""
    from copy import copy

    from feast.infra.offline_stores.contrib.spark_offline_store.spark import SparkOfflineStore
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    from churn.spark.joins import customers

    chain, directory, day = chain
    url = chain.database_url
    write_parquet(day, url, directory / "archive", snapshots)
    store = open_offline_store(url)
    service = store.get_feature_service(FEATURE_SERVICE)
    with connect(url) as connection:
        ours = customers(connection, store, service, day).where("user_id < '1'").toArrow().sort_by("user_id")
    views = []
    for projection in service.feature_view_projections:
        view = copy(store.get_feature_view(projection.name)).with_projection(projection)
        view.batch_source = SparkSource(
            name=view.name, table=view.batch_source.name, timestamp_field="event_timestamp"
        )  # fmt: skip
        views.append(view)
    refs = [f"{each.name}:{field.name}" for each in service.feature_view_projections for field in each.features]
    entities = spark.sql(
        "SELECT user_id, CAST(event_timestamp AS TIMESTAMP_NTZ) AS event_timestamp, monthly_fee AS fee "
        "FROM subscriptions_profile_snapshots WHERE user_id < '1'"
    )
    job = SparkOfflineStore.get_historical_features(
        store.config, views, refs, entities, store.registry, store.project
    )  # fmt: skip
    theirs = job.to_spark_df().toArrow().sort_by("user_id")
    spark.conf.unset("spark.sql.parser.quotedRegexColumnNames")
    assert len(ours)
    names = [name for name in ours.column_names if name != "event_timestamp"]
    assert theirs.select(names).equals(ours.select(names))


def forget_list(url):
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE scores.runs SET code_digest = ''")


def lists_without_revision(folder):
    return pyarrow.parquet.read_table(folder / "scores.parquet").drop_columns("revision").to_pylist()


def test_the_list_is_the_same_after_an_executor_was_killed_and_idle_ones_are_given_back(snapshots, chain, tmp_path):
    chain, directory, day = chain
    url = chain.database_url
    write_parquet(day, url, directory / "archive", snapshots)
    forget_list(url)
    run_script(
        "killed_executor.py", day, directory / "scores", tmp_path / "killed",
        CHURN_DATABASE_URL=url, CHURN_SPARK_MASTER="local-cluster[2,1,1024]",
    )  # fmt: skip
    revisions = sorted((directory / "scores" / folder_of(day)).iterdir(), key=lambda each: int(each.name[9:]))
    assert lists_without_revision(revisions[0]) == lists_without_revision(revisions[-1])


def run_script(name, *arguments, **environment):
    """Run a script of this folder, which needs a session of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(name)), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "include"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
