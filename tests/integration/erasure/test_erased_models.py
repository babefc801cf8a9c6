"""After an erasure no file in MLflow holds the customers, and nothing else differs; who learned from them is tagged."""

import io
import json
import shutil
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import mlflow
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from churn.erasure.models import erase_models, held_in_models
from churn.erasure.replacement import find_replacement, next_training
from churn.features.store import open_store
from churn.gate.gathering import StaleCandidate
from churn.gate.grading import GateInvalid, grade
from churn.outcome import DONE, UNCHANGED
from churn.registry import artifacts
from churn.registry import client as registry
from churn.registry.client import EXPERIMENT
from churn.registry.erased import TRAINED_ON_ERASED
from churn.registry.evidence import read_evidence
from churn.registry.model_version import MODEL_NAME
from churn.registry.version_scorer import load_scorer
from churn.report.model_card import write_report
from churn.reproduction.reproduce import NotReproducible, reproduce
from churn.synthetic.generate import write_drops
from churn.training.lineage import read_kept_set
from churn.training.train import train
from tests.conftest import FEBRUARY, JANUARY, database_copy, tracking
from tests.integration.conftest import Pipeline
from tests.integration.training_chain import QUICK, Chain

MARCH = date(2024, 3, 31)
REQUEST = "0" * 32
EXAMPLES = ("input_example.json", "serving_input_example.json")


class World:
    """Two versions with decisions, the second in Production; a third that the gate has not decided on; the run and the
    model of the first are deleted, as is a run that a person logged."""

    def __init__(self, chain: Chain, directory: Path) -> None:
        self.chain, self.database_url, self.directory = chain, chain.database_url, directory

    def make(self) -> None:
        client = MlflowClient()
        for as_of in (JANUARY, FEBRUARY):
            self.chain(as_of, QUICK)
        self.chain.pipeline.serve(MARCH)
        train(MARCH, self.database_url, QUICK)
        first, second, self.third = (registry.get_version(client, number) for number in (1, 2, 3))
        self.production = second
        write_report(second.version, self.database_url)
        self.choose_customers()
        mlflow.set_experiment(EXPERIMENT)
        with mlflow.start_run() as by_hand:
            mlflow.log_text(f"<p>why did {self.golden} leave?</p>", "notes/why.html")
            self.log_table({"user_id": [self.golden, "somebody"], "x": [1, 2]}, "mine/rows.parquet")
            self.log_table({"x": [1, 2]}, "mine/no_customers.parquet")
            mlflow.log_text("no Parquet", "mine/odd.parquet")
        client.delete_run(by_hand.info.run_id)
        client.delete_logged_model(client.get_run(first.run_id).outputs.model_outputs[0].model_id)
        client.delete_run(first.run_id)

    def choose_customers(self) -> None:
        """Customers whose features are the first golden row, in the gate cohort, in the audit cohort, and in the
        rows that the versions were trained on."""
        golden = read_evidence(self.production.run_id, "golden").drop_columns("score")
        first = golden.to_pylist()[0]
        rows = read_kept_set(self.production.run_id).to_pylist()
        self.golden = next(row["user_id"] for row in rows if {name: row[name] for name in first} == first)
        self.graded, self.audited, self.learned = (
            next(each for each in self.ids_in(self.third, of) if each in self.ids_in(self.production, of))
            for of in ("grades", "audit", "trained_on")
        )
        self.cohorts = frozenset({self.graded, self.audited})
        self.users = self.cohorts | {self.golden, self.learned}

    def ids_in(self, version, of):
        return read_evidence(version.run_id, of)["user_id"].to_pylist()

    def log_table(self, columns, path):
        local = self.directory / Path(path).name
        pq.write_table(pa.table(columns), local)
        mlflow.log_artifact(str(local), str(Path(path).parent))
        local.unlink()

    @property
    def store(self) -> Path:
        return self.directory / "mlruns"

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.store)): path.read_bytes() for path in self.store.rglob("*") if path.is_file()
        }

    def erase(self, users=None):
        return erase_models(REQUEST, users or self.users, self.database_url)

    def query(self, statement, *values):
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(statement, values).fetchall()

    def places(self):
        """Return looked at, rewritten and rows, by place."""
        found = self.query("SELECT place, looked_at, rewritten, rows FROM erasure.places ORDER BY place")
        return {place: figures for place, *figures in found}

    def recorded(self):
        return self.query("SELECT version, run_id, learned FROM erasure.versions ORDER BY version")

    def tags(self):
        versions = registry.find_versions(MlflowClient(), {})
        return {each.version: each.tags.get(TRAINED_ON_ERASED) for each in versions}

    @contextmanager
    def without_snapshots_of(self, users):
        """Without the customers' rows of the snapshots, as after their erasure there, until the block ends."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
                " WHERE nspname = 'snapshots' AND relname LIKE '%%_snapshots' AND relkind = 'p'"
            ).fetchall()
            assert len(found) == 6
            for (table,) in found:
                where = f"FROM snapshots.{table} WHERE user_id = ANY(%s)"
                connection.execute(f"CREATE TEMPORARY TABLE kept_{table} AS SELECT * {where}", [[*users]])
                connection.execute(f"DELETE {where}", [[*users]])
            try:
                yield
            finally:
                for (table,) in found:
                    connection.execute(f"INSERT INTO snapshots.{table} SELECT * FROM kept_{table}")


@pytest.fixture(scope="module")
def made(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    directory = tmp_path_factory.mktemp("erasure")
    write_drops(directory / "landing", customers=1500, months=3, seed=11)
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory),
    ):
        world = World(Chain(Pipeline(database_url, directory / "landing", directory / "archive")), directory)
        world.make()
        shutil.copytree(world.store, directory / "kept")
        yield world


@pytest.fixture
def world(made):
    """The chain as it was made, with an open request."""
    with psycopg.connect(made.database_url) as connection:
        connection.execute(
            "INSERT INTO erasure.requests (request, who, why, customers) VALUES (%s, 'ada', 'a test', 3)", [REQUEST]
        )
    yield made
    shutil.rmtree(made.store)
    shutil.copytree(made.directory / "kept", made.store)
    with psycopg.connect(made.database_url) as connection:
        connection.execute("TRUNCATE erasure.requests CASCADE")
    for version, tag in made.tags().items():
        if tag:
            MlflowClient().delete_model_version_tag(MODEL_NAME, str(version), TRAINED_ON_ERASED)


def table_of(content):
    return pq.read_table(io.BytesIO(content))


def holds(path, content, users):
    """Tell whether a file holds an id: as a value of Parquet, else as bytes."""
    if path.endswith(".parquet") and content[:4] == b"PAR1":
        table = table_of(content)
        return "user_id" in table.column_names and bool(users & {*map(str, table["user_id"].to_pylist())})
    return any(each.encode() in content for each in users)


# --- the files ---------------------------------------------------------------------------------------------------


def test_no_file_of_any_run_holds_the_customers_and_only_files_that_did_differ(world):
    before = world.files()
    held = {path for path, content in before.items() if holds(path, content, world.users)}
    for name in ("training_set", "grades", "audit", "trained_on", "scores", "rows", "why"):
        assert any(Path(path).stem == name for path in held), (name, held)
    done = world.erase()
    after = world.files()
    assert done.outcome == DONE
    assert not [path for path, content in after.items() if holds(path, content, world.users)]
    changed = {path for path in after if after[path] != before[path]}
    assert after.keys() == before.keys()
    assert held <= changed
    assert {Path(path).name for path in changed - held} <= {"golden.parquet", *EXAMPLES}
    assert (len(before), len(changed)) == (done.figures["looked_at"], done.figures["rewritten"])


def test_other_rows_of_a_rewritten_file_stay_as_they_were(world):
    before = world.files()
    world.erase()
    for path, content in world.files().items():
        if content != before[path] and path.endswith(".parquet") and not path.endswith("golden.parquet"):
            old, new = table_of(before[path]), table_of(content)
            kept = [each not in world.users for each in old["user_id"].to_pylist()]
            assert new.schema.equals(old.schema, check_metadata=True), path
            assert repr(new.to_pylist()) == repr(old.filter(pa.array(kept)).to_pylist()), path


def test_golden_rows_and_input_examples_of_the_customers_are_removed(world):
    before, model = world.files(), artifacts.of_models(world.production.run_id)[0]
    theirs = read_kept_set(world.production.run_id)
    theirs = theirs.filter(pa.array([each in world.users for each in theirs["user_id"].to_pylist()]))
    old = read_evidence(world.production.run_id, "golden")
    names = [each for each in old.column_names if each != "score"]
    gone = {repr(row) for row in theirs.select(names).to_pylist()}
    world.erase()
    new = read_evidence(world.production.run_id, "golden")
    expected = [row for row in old.to_pylist() if repr({name: row[name] for name in names}) not in gone]
    assert new.to_pylist() == expected
    assert 0 < len(new) < len(old)
    shown, serving = (
        json.loads(artifacts.fetch(model, name, world.directory).read_text()) for name in EXAMPLES
    )  # fmt: skip
    for each in (shown, serving["dataframe_split"]):
        assert each["columns"] == names
        assert len(each["data"]) < 3
        assert not {repr(dict(zip(names, row, strict=True))) for row in each["data"]} & gone
    changed = {path for path, content in world.files().items() if content != before[path]}
    assert not [path for path in changed if Path(path).name in ("model.skops", "MLmodel")]


def test_the_report_of_the_request_says_what_was_done_in_each_place(world):
    done = world.erase()
    places = {
        place: rest for place, *rest in world.query("SELECT place, looked_at, rewritten, rows FROM erasure.places")
    }
    assert sorted(places) == [
        "MLflow: decisions", "MLflow: evidence", "MLflow: models", "MLflow: other files", "MLflow: training sets"
    ]  # fmt: skip
    assert places["MLflow: training sets"][:2] == [3, 3]
    assert places["MLflow: other files"][1:] == [2, 2]
    looked_at, rewritten, rows = map(sum, zip(*places.values(), strict=True))
    assert {"looked_at": looked_at, "rewritten": rewritten, "rows": rows}.items() <= done.figures.items()
    assert not any(each in f"{done.reason} {done.figures}" for each in world.users)


def test_a_second_call_finds_nothing_and_changes_nothing(world):
    world.erase()
    before = world.files(), world.query("TABLE erasure.versions"), world.tags()
    again = world.erase()
    assert (again.outcome, again.figures["rewritten"], again.figures["versions"]) == (UNCHANGED, 0, [])
    assert (world.files(), world.query("TABLE erasure.versions"), world.tags()) == before


def test_a_customer_whom_mlflow_does_not_hold_changes_nothing(world):
    before = world.files()
    assert world.erase(frozenset({"NOBODY-1"})).outcome == UNCHANGED
    assert (world.files(), world.recorded(), {*world.tags().values()}) == (before, [], {None})


def test_interrupted_at_every_upload_it_ends_the_same(world, monkeypatch):
    before = world.files()
    whole = world.erase()
    expected = (
        world.files(),
        world.recorded(),
        world.tags(),
        world.query("SELECT place, rewritten, rows FROM erasure.places"),
    )
    for path, content in before.items():
        (world.store / path).write_bytes(content)
    with psycopg.connect(world.database_url) as connection:
        connection.execute("TRUNCATE erasure.places, erasure.versions")
    seen, upload = set(), artifacts.replace

    def interrupted_once(repository, path, file):
        place = (repository.artifact_uri, path)
        if place not in seen:
            seen.add(place)
            raise ConnectionError("killed")
        upload(repository, path, file)

    monkeypatch.setattr(artifacts, "replace", interrupted_once)
    for _ in range(whole.figures["rewritten"]):
        with pytest.raises(ConnectionError):
            world.erase()
    assert world.erase().outcome == DONE
    found = (
        world.files(),
        world.recorded(),
        world.tags(),
        world.query("SELECT place, rewritten, rows FROM erasure.places"),
    )
    assert found == expected


# --- the versions ------------------------------------------------------------------------------------------------


def test_versions_that_learned_from_the_customers_are_recorded_and_tagged(world):
    done = world.erase()
    versions = registry.find_versions(MlflowClient(), {})[::-1]
    assert world.recorded() == [(each.version, each.run_id, True) for each in versions]
    assert world.tags() == dict.fromkeys((1, 2, 3), datetime.now(UTC).date().isoformat())
    assert done.figures["versions"] == [1, 2, 3]
    assert f"version {world.production.version} is in Production: replace it by " in done.reason


def test_a_version_is_recorded_and_tagged_before_any_file_of_its_run_changes(world, monkeypatch):
    before = world.files()

    def away(*_):
        raise ConnectionError("MLflow is away")

    monkeypatch.setattr(MlflowClient, "set_model_version_tag", away)
    with pytest.raises(ConnectionError):
        world.erase()
    assert len(world.recorded()) == 1
    assert world.files() == before
    monkeypatch.undo()
    world.erase()
    assert None not in world.tags().values()


def test_versions_that_were_only_graded_on_the_customers_are_recorded_and_not_tagged(world):
    done = world.erase(world.cohorts)
    assert [(version, learned) for version, _, learned in world.recorded()] == [(2, False), (3, False)]
    assert {*world.tags().values()} == {None}
    assert (done.outcome, done.figures["versions"]) == (DONE, [])
    assert done.reason.endswith("; no version was trained on them")
    assert find_replacement(world.database_url) is None
    assert next_training(REQUEST, world.database_url)[1] == []


def test_without_the_list_of_customers_trained_on_a_version_counts_as_trained_on_them(world):
    artifacts.of_run(world.third.run_id).delete_artifacts("evidence/trained_on.parquet")
    assert world.erase(world.cohorts).figures["versions"] == [3]
    assert [version for version, tag in world.tags().items() if tag] == [3]


def test_the_tag_keeps_the_date_of_the_first_erasure(world):
    world.erase(world.cohorts)
    with psycopg.connect(world.database_url) as connection:
        connection.execute("UPDATE erasure.versions SET erased_at = '2024-05-01 23:30+00'")
    world.erase(frozenset({world.learned}))
    assert world.tags()[world.third.version] == "2024-05-01"


def test_the_version_in_production_is_still_loaded_and_checked_by_its_golden_rows(world):
    service = open_store(world.database_url).get_feature_service(world.production.feature_service)
    world.erase()
    loaded = load_scorer(world.production, service, world.database_url)
    assert 0 < len(loaded.background) == len(read_evidence(world.production.run_id, "golden"))


@pytest.mark.parametrize(
    ("who", "why"),
    [("users", "learned from customers"), ("cohorts", "did not learn from customers")],
    ids=["trained", "graded"],
)
def test_a_version_trained_or_graded_on_them_is_not_reproduced_and_the_reason_says_which(world, who, why):
    world.erase(getattr(world, who))
    with pytest.raises(NotReproducible, match=rf"version 2 of \w+ {why} who were erased on 20"):
        reproduce(world.production.version, world.database_url, world.directory / "archive", print)


# --- the gate ----------------------------------------------------------------------------------------------------


def test_the_gate_decides_on_a_candidate_that_learned_from_the_erased(world):
    """Rows of the cohort are as they were; those of the audit cohort are fewer in its evidence and in the snapshots."""
    users = frozenset({world.learned, world.audited})
    with world.without_snapshots_of(users):
        world.erase(users)
        assert grade(world.third.version, world.database_url).figures["decision"] in {"PROMOTE", "KEEP"}


def test_a_candidate_whose_cohort_lost_a_customer_is_trained_again(world):
    users = frozenset({world.graded})
    with world.without_snapshots_of(users):
        world.erase(users)
        with pytest.raises(StaleCandidate, match="clear the task train"):
            grade(world.third.version, world.database_url, {"max_auc_loss": 0.02})
        trained = train(MARCH, world.database_url, QUICK)
        assert (trained.outcome, trained.figures["version"]) == (DONE, 4)
        assert grade(4, world.database_url).figures["decision"] in {"PROMOTE", "KEEP"}


def test_a_candidate_without_golden_rows_is_refused_with_a_reason(world):
    golden = world.directory / "golden.parquet"
    pq.write_table(read_evidence(world.third.run_id, "golden").slice(0, 0), golden)
    artifacts.replace(artifacts.of_run(world.third.run_id), "evidence/golden.parquet", golden)
    with pytest.raises(GateInvalid, match="its golden rows were of customers who were erased"):
        grade(world.third.version, world.database_url, {"max_auc_loss": 0.03})


# --- the right of access -----------------------------------------------------------------------------------------


def test_what_mlflow_holds_of_a_customer_is_listed_by_version(world):
    held = held_in_models(world.audited)
    assert json.loads(json.dumps(held)) == held
    by_version = {each["version"]: each for each in held}
    third = by_version[3]
    assert (third["run_id"], third["as_of"]) == (world.third.run_id, world.third.tags["as_of"])
    assert (third["trained_on"], third["graded_on"]) == (False, True)
    assert [row["user_id"] for row in third["files"]["evidence/audit.parquet"]] == [world.audited]
    assert {row["user_id"] for row in third["training_set"]} == {world.audited}
    assert "months_active" in third["training_set"][0]
    by_hand = next(each for each in held_in_models(world.golden) if each["version"] is None)
    assert by_hand["files"] == {"mine/rows.parquet": [{"user_id": world.golden, "x": 1}]}
    world.erase()
    assert held_in_models(world.audited) == []
