"""A version is reproduced bit for bit, or the first difference is named."""

import copy
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pytest
from mlflow import MlflowClient

from churn.drops.archive import Incoming, open_archived
from churn.drops.landing import find_drop
from churn.gate.grading import grade
from churn.gate.rule import INVALID
from churn.registry import client as registry
from churn.reproduction.reproduce import NotReproducible, reproduce
from churn.synthetic.generate import write_drops
from churn.training import environment, lineage, recipe, sample
from churn.training import train as training
from churn.training.digest import digest_of
from churn.training.families import FAMILIES
from churn.training.lineage import read_kept_set, read_lineage
from churn.training.train import train
from churn.value import Value
from tests.conftest import database_copy, tracking
from tests.database_dump import dump
from tests.handmade_drops import accept
from tests.integration.conftest import Pipeline

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
QUICK = recipe.Parameters(families=("logistic regression", "boosted trees"))
EVERYTHING = (
    "archived files",
    "training set",
    "recipe",
    "threshold",
    "metrics",
    "grades",
    "audit",
    "trained_on",
    "golden",
    "predictions of the registered model",
)


class World:
    """Three months with labels one month late, and the version trained on them."""

    def __init__(self, pipeline: Pipeline, mlflow_url: str) -> None:
        self.pipeline, self.mlflow_url = pipeline, mlflow_url
        self.steps: list[str] = []

    def train(self) -> None:
        self.pipeline.snapshot(JANUARY)
        self.pipeline.snapshot(FEBRUARY)
        self.pipeline.serve(MARCH)
        self.version = train(MARCH, self.pipeline.database_url).figures["version"]
        self.run_id = registry.get_version(MlflowClient(), self.version).run_id

    def reproduce(self):
        return reproduce(self.version, self.pipeline.database_url, self.pipeline.archive, self.steps.append)

    def scratch_databases(self) -> list[str]:
        with psycopg.connect(self.pipeline.database_url) as connection:
            return connection.execute(
                "SELECT datname FROM pg_database WHERE starts_with(datname, current_database() || '_reproduce')"
            ).fetchall()

    def correct_february(self, landing: Path) -> None:
        """A later revision of February, with rebuilt snapshots."""
        write_drops(landing, customers=1600, months=3, seed=6)
        # Its customers are others.
        accept(find_drop(landing, FEBRUARY))
        replace(self.pipeline, landing=landing).snapshot(FEBRUARY)


@pytest.fixture(scope="module", autouse=True)
def quick_models():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training.recipe, "Parameters", lambda **given: replace(QUICK, **given))
        yield


@pytest.fixture(scope="module")
def world(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """Trained once; reproducing does not change it."""
    landing = tmp_path_factory.mktemp("drops")
    write_drops(landing, customers=1500, months=3, seed=5, late_labels=1)
    directory = tmp_path_factory.mktemp("mlflow")
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory) as mlflow_uri,
    ):
        world = World(Pipeline(database_url, landing, directory / "archive"), mlflow_uri.replace("+psycopg2", ""))
        world.train()
        yield world


@pytest.fixture
def recorded(world):
    """Change the run's lineage until the block ends."""
    said = read_lineage(world.run_id)

    def change(change_it) -> None:
        other = copy.deepcopy(said)
        change_it(other)
        MlflowClient().log_dict(world.run_id, other, "lineage.json")

    yield change
    MlflowClient().log_dict(world.run_id, said, "lineage.json")


@pytest.fixture
def other_models(monkeypatch):
    """Changed code that fits other models on the same data."""
    for name, grid in {"logistic regression": {"C": 0.001}, "boosted trees": {"max_leaf_nodes": 3}}.items():
        monkeypatch.setitem(FAMILIES, name, replace(FAMILIES[name], grid=(grid,)))


def test_a_version_is_reproduced_bit_for_bit(world):
    made = world.reproduce()
    assert made.equal, str(made)
    for what in EVERYTHING:
        assert any(what in each for each in made.compared), (what, made.compared)
    assert "equal, bit for bit" in str(made)
    assert any("loading the drop of 2024-01-31" in step for step in world.steps)
    assert not world.scratch_databases()


def test_a_version_by_value_is_reproduced_bit_for_bit(world):
    version = train(MARCH, world.pipeline.database_url, replace(QUICK, value=Value(10, 0.3, 200))).figures["version"]
    found = registry.get_version(MlflowClient(), version)
    assert read_lineage(found.run_id)["parameters"]["value"] == {"contact_cost": 10, "success_rate": 0.3, "margin": 200}
    assert "cohort_empc" in read_lineage(found.run_id)["metrics"]
    assert version != world.version
    made = reproduce(version, world.pipeline.database_url, world.pipeline.archive, world.steps.append)
    assert made.equal, str(made)
    assert "value" not in read_lineage(world.run_id)["parameters"]


def test_a_version_of_a_sample_is_reproduced_by_its_recorded_shares_and_the_gate_grades_it(world, monkeypatch):
    url, whole = world.pipeline.database_url, read_lineage(world.run_id)["training_set"]
    monkeypatch.setattr(sample, "COHORT_CUSTOMERS", 1_000)
    version = train(MARCH, url, replace(QUICK, training_rows=2_000)).figures["version"]
    found = registry.get_version(MlflowClient(), version)
    kept = read_lineage(found.run_id)
    shares = kept["training_set"]["samples"]
    assert [*shares] == kept["training_set"]["dates"]
    assert all(0 < share < 1 for of in shares.values() for share in of.values())
    assert all(set(of.values()) == {1.0} for of in whole["samples"].values())
    assert kept["training_set"]["rows"] < 0.8 * whole["rows"]
    assert grade(version, url).figures["decision"] != INVALID
    # Another limit and more customers today change nothing of the past.
    monkeypatch.setattr(sample, "COHORT_CUSTOMERS", 500)
    made = reproduce(version, url, world.pipeline.archive, world.steps.append)
    assert made.equal, str(made)


def test_a_reproduction_changes_neither_mlflow_nor_the_database(world):
    before = dump(world.pipeline.database_url), dump(world.mlflow_url)
    assert world.reproduce().equal
    assert (dump(world.pipeline.database_url), dump(world.mlflow_url)) == before


def test_a_version_keeps_all_inputs_of_its_reproduction(world):
    kept = read_lineage(world.run_id)
    tags = registry.get_version(MlflowClient(), world.version).tags
    assert {as_of: drop["digest"] for as_of, drop in kept["drops"].items()} == json.loads(tags["drops"])
    for drop in kept["drops"].values():
        assert {"users.csv", "subscriptions.csv"} <= drop["files"].keys()
        for file in drop["files"].values():
            with open_archived(world.pipeline.archive, file["sha256"]) as stream:
                assert b"user_id" in stream.read(100)
    assert ["labels.csv" in drop["files"] for drop in kept["drops"].values()] == [False, True, True]
    assert "FROM snapshots.labels_snapshots" in kept["queries"]["training/entities"]
    assert {"training/drops", "offline/join"} <= kept["queries"].keys()
    assert kept["training_set"]["digest"] == tags["data_digest"] == digest_of(read_kept_set(world.run_id))
    assert kept["code"]["digest"] == tags["code_digest"]
    assert kept["code"]["commit"]
    assert isinstance(kept["code"]["clean"], bool)
    assert len(kept["environment"]["lock"]) == 64
    assert {"scikit-learn", "numpy", "scipy", "pandas", "pyarrow", "feast", "mlflow", "skops"} <= kept["environment"][
        "libraries"
    ].keys()
    assert kept["environment"]["python"]
    assert kept["environment"]["blas"]
    assert {"cpu", "cores", "system"} == kept["environment"]["machine"].keys()
    assert kept["parameters"] == json.loads(tags["parameters"])
    assert kept["seeds"] == {"random_state": QUICK.random_state, "cohort_salt": tags["cohort_salt"]}
    assert kept["metrics"]["train_rows"] == MlflowClient().get_run(world.run_id).data.metrics["train_rows"]


def test_a_version_is_reproduced_without_its_large_training_set(
    postgres_url, churn_template, mlflow_template, world, tmp_path, monkeypatch
):
    monkeypatch.setattr(lineage, "LARGEST_KEPT_SET", 1000)
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, tmp_path) as mlflow_uri,
    ):
        large = World(replace(world.pipeline, database_url=database_url), mlflow_uri)
        large.train()
        assert read_kept_set(large.run_id) is None
        assert read_lineage(large.run_id)["training_set"]["kept_as"] is None
        assert large.reproduce().equal


def test_a_changed_archived_byte_is_named_as_data(world):
    sha256 = read_lineage(world.run_id)["drops"]["2024-01-31"]["files"]["usage_agg_30d.csv"]["sha256"]
    file = world.pipeline.archive / sha256[:2] / f"{sha256}.csv.zst"
    content = file.read_bytes()
    middle = len(content) // 2
    try:
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        made = world.reproduce()
        assert made.difference.startswith("data: usage_agg_30d.csv of the drop of 2024-01-31, revision 1: ")
        assert "damaged" in made.difference
        file.unlink()
        made = world.reproduce()
        assert made.difference.startswith("data: usage_agg_30d.csv of the drop of 2024-01-31, revision 1: ")
        assert "the archive has no" in made.difference
    finally:
        file.write_bytes(content)
    assert not world.scratch_databases()


def test_a_changed_file_of_a_drop_is_named_as_data_with_the_first_value(world, recorded, tmp_path):
    file = tmp_path / "drops" / "2024-02-29" / "usage_agg_30d.csv"
    write_drops(tmp_path / "drops", customers=1500, months=3, seed=5, late_labels=1)
    header, first, *rest = file.read_text().splitlines()
    values = dict(zip(header.split(","), first.split(","), strict=True))
    values["skips_7d"] = str(int(values["skips_7d"]) + 1)
    file.write_text("\n".join([header, ",".join(values.values()), *rest, ""]))
    (file.parent / "manifest.json").unlink(missing_ok=True)
    from churn.drops.validation import validate

    other = validate(find_drop(tmp_path / "drops", FEBRUARY), world.pipeline.database_url, world.pipeline.archive)
    recorded(lambda said: said["drops"].update({"2024-02-29": {"revision": 1, **other.to_json()}}))
    made = world.reproduce()
    assert made.difference.startswith("data: the training set of 2024-03-31 had the sha256")
    assert f"skips_7d of {values['user_id']} at 2024-02-29 was" in made.difference
    assert not world.scratch_databases()


def test_other_code_with_other_results_is_named_as_code(world, recorded, other_models):
    def by_other_code(said):
        said["code"]["digest"] = "0" * 64
        said["queries"]["training/drops"] = "SELECT"

    recorded(by_other_code)
    made = world.reproduce()
    assert made.difference.startswith("code: the code of training had the sha256 000000000000…")
    assert "training/drops" in made.difference
    assert "training set" in made.compared
    assert not world.scratch_databases()


def test_other_code_that_cannot_make_the_version_at_all_is_named_as_code(world, recorded):
    def by_other_code(said):
        said["code"]["digest"] = "0" * 64
        said["parameters"]["temperature"] = 1

    recorded(by_other_code)
    made = world.reproduce()
    assert made.difference.startswith("code: ")
    assert "temperature" in made.difference
    assert not world.scratch_databases()


def test_another_version_of_a_library_with_other_results_is_named_as_environment_first(world, recorded, other_models):
    def long_ago(said):
        said["environment"]["libraries"]["numpy"] = "1.0.0"
        said["code"]["digest"] = "0" * 64

    recorded(long_ago)
    made = world.reproduce()
    now = environment.environment()["libraries"]["numpy"]
    assert made.difference.startswith(f"environment: numpy was 1.0.0, is {now};")
    assert not world.scratch_databases()


def test_differences_without_effect_are_reported_and_the_version_is_equal(world, recorded):
    def long_ago(said):
        said["environment"]["machine"]["cpu"] = "another"
        said["code"] |= {"digest": "0" * 64, "commit": "f" * 40, "clean": False}

    recorded(long_ago)
    made = world.reproduce()
    assert made.equal
    assert any(note.startswith("cpu was another, is ") for note in made.notes)
    assert any(note.startswith("the code of training had the sha256 000000000000…") for note in made.notes)
    assert any(note.startswith("the commit was ffffffffffff, is ") for note in made.notes)
    assert any("was not clean" in note for note in made.notes)


def test_a_changed_record_is_named_if_data_code_and_environment_are_equal(world):
    client = MlflowClient()
    threshold = registry.get_version(client, world.version).tags["threshold"]
    client.set_model_version_tag("streamflow_churn", str(world.version), "threshold", "0.123")
    try:
        made = world.reproduce()
    finally:
        client.set_model_version_tag("streamflow_churn", str(world.version), "threshold", threshold)
    assert made.difference.startswith(f"record: threshold: was 0.123, is {threshold}")


def test_an_error_is_raised_and_leaves_no_scratch_database(world, monkeypatch):
    def fail(*_):
        raise RuntimeError("no more room")

    monkeypatch.setattr("churn.reproduction.reproduce.build_training_set", fail)
    with pytest.raises(RuntimeError, match="no more room"):
        world.reproduce()
    assert not world.scratch_databases()


def test_the_next_reproduction_removes_the_remains_of_a_killed_one(world):
    with psycopg.connect(world.pipeline.database_url, autocommit=True) as connection:
        name = connection.execute("SELECT current_database() || '_reproduce_0a0a0a0a'").fetchone()[0]
        connection.execute(f'CREATE DATABASE "{name}"')
    assert world.reproduce().equal
    assert not world.scratch_databases()


def test_an_unknown_version_and_one_without_lineage_are_refused(world):
    with pytest.raises(NotReproducible, match="no version 99 "):
        reproduce(99, world.pipeline.database_url, world.pipeline.archive, print)
    client = MlflowClient()
    run = client.create_run(client.get_experiment_by_name(registry.EXPERIMENT).experiment_id)
    by_hand = client.create_model_version("streamflow_churn", "s3://nowhere", run.info.run_id)
    with pytest.raises(NotReproducible, match=r"keeps no lineage\.json"):
        reproduce(int(by_hand.version), world.pipeline.database_url, world.pipeline.archive, print)


def test_a_version_whose_tags_cannot_be_read_is_refused_with_the_value(world):
    client, held = MlflowClient(), registry.get_version(MlflowClient(), world.version)
    made = client.create_model_version("streamflow_churn", "s3://nowhere", held.run_id, tags={"as_of": "31.01.2024"})
    with pytest.raises(NotReproducible, match=r"tag as_of '31\.01\.2024', which is no date"):
        reproduce(int(made.version), world.pipeline.database_url, world.pipeline.archive, print)


def test_a_corrected_drop_is_read_from_the_archive_in_its_old_revision(world, tmp_path):
    world.correct_february(tmp_path)
    made = world.reproduce()
    assert made.equal, str(made)


def test_a_version_is_reproduced_from_files_rewritten_without_a_customer_whom_it_did_not_learn_from(world, tmp_path):
    learned = {*read_kept_set(world.run_id)["user_id"].to_pylist()}
    drop, archive = read_lineage(world.run_id)["drops"]["2024-03-31"], world.pipeline.archive
    kept, rewrites = {}, {}
    with open_archived(archive, drop["files"]["users.csv"]["sha256"]) as stream:
        users = (line.split(b",")[0].decode() for line in stream.read(2**24).splitlines()[1:])
        user = next(each for each in users if each not in learned)
    for name, file in drop["files"].items():
        path = archive / file["sha256"][:2] / f"{file['sha256']}.csv.zst"
        with open_archived(archive, file["sha256"]) as stream:
            lines = stream.read(2**24).splitlines(keepends=True)
        new = tmp_path / name
        new.write_bytes(b"".join(line for line in lines if not line.startswith(f"{user},".encode())))
        with Incoming(archive) as incoming:
            with incoming.reading(new) as reader:
                reader.read(2**24)
            incoming.accept()
        if reader.sha256 != file["sha256"]:
            kept[path], rewrites[file["sha256"]] = path.read_bytes(), reader.sha256
            path.unlink()
    assert rewrites
    with psycopg.connect(world.pipeline.database_url) as connection:
        connection.execute(
            "INSERT INTO erasure.requests (request, who, why, customers) VALUES ('r', 'ada', 'asked', 1)"
        )
        for old, now in rewrites.items():
            connection.execute("INSERT INTO erasure.rewrites VALUES (%s, %s, 1, 1, 'r')", [old, now])
    try:
        assert world.reproduce().equal
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
        with psycopg.connect(world.pipeline.database_url) as connection:
            connection.execute("TRUNCATE erasure.requests CASCADE")
