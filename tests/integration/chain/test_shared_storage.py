"""The chain without a local disk: drops on a mounted directory, archive and artifacts in an object store."""

from datetime import date

import fsspec
import mlflow
import psycopg
import pytest
from mlflow import MlflowClient

from churn.drops import storage
from churn.drops.archive import Incoming, open_archived
from churn.drops.landing import find_drop
from churn.drops.validation import validate
from churn.registry import client as registry
from churn.registry.client import EXPERIMENT
from churn.registry.loading import load_pipeline
from churn.reproduction.reproduce import reproduce
from churn.synthetic.generate import write_drops
from tests.conftest import database_copy, tracking
from tests.integration.conftest import Pipeline
from tests.integration.training_chain import Chain

JANUARY = date(2024, 1, 31)


@pytest.fixture(scope="module")
def chain(postgres_url, churn_template, mlflow_template, object_store, tmp_path_factory):
    """January, trained and promoted."""
    directory = tmp_path_factory.mktemp("here")
    write_drops(directory / "landing", customers=1500, months=1, seed=5)
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory),
    ):
        mlflow.create_experiment(EXPERIMENT, artifact_location=f"{object_store}/mlflow")
        chain = Chain(Pipeline(database_url, directory / "landing", f"{object_store}/archive"))
        chain(JANUARY)
        yield chain


def test_only_the_landing_directory_is_on_the_disk(chain):
    assert [path.name for path in chain.pipeline.landing.parent.iterdir()] == ["landing"]


def test_every_file_of_the_drop_is_in_the_object_store_under_its_sha256(chain, object_store):
    with psycopg.connect(chain.database_url) as connection:
        (files,) = connection.execute("SELECT files FROM raw.drops").fetchone()
    stored = fsspec.filesystem("s3").find(f"{object_store}/archive")
    assert {path.rpartition("/")[2] for path in stored} == {f"{file['sha256']}.csv.zst" for file in files.values()}


def test_the_version_in_production_is_loaded_from_the_object_store(chain):
    production = registry.production(MlflowClient())
    assert production.as_of == JANUARY
    assert load_pipeline(production.version, chain.database_url).steps


def test_a_version_is_reproduced_from_the_object_store(chain):
    made = reproduce(1, chain.database_url, chain.pipeline.archive, lambda _: None)
    assert made.equal, str(made)


def test_machines_sharing_an_archive_do_not_delete_each_others_files_in_progress(pipeline_on, monkeypatch, tmp_path):
    """Machine B validates a drop while A archives another one: A's files must still exist when A accepts them."""
    pipeline = pipeline_on(tmp_path / "landing")
    write_drops(tmp_path / "landing", customers=50, months=1, seed=5)
    drop = find_drop(pipeline.landing, JANUARY)
    with monkeypatch.context() as machine_a, Incoming(pipeline.archive) as incoming:
        machine_a.setattr(storage, "this_machine", lambda: "machine-a-0123abcd")
        with incoming.reading(drop.path / "users.csv") as reader:
            while reader.read(1000):
                pass
        machine_a.undo()
        validate(drop, pipeline.database_url, pipeline.archive)
        incoming.accept()
    with open_archived(pipeline.archive, reader.sha256) as stream:
        assert stream.read(7) == b"user_id"
