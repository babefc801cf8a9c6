"""Retention deletes old model versions with their files, keeps those in use, and keeps decisions readable."""

import time
from datetime import UTC, date, datetime, timedelta

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline

from churn.board import history as board
from churn.board import production as board_registry
from churn.gate import moves, promotion, rollback
from churn.gate.decision_files import folder_of
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect, execute, lock_session
from churn.registry import client as registry
from churn.registry.client import EXPERIMENT
from churn.registry.evidence import EVIDENCE
from churn.registry.loading import load_pipeline
from churn.registry.model_version import MODEL_NAME, ModelNotLoadable
from churn.registry.trust import trust
from churn.retention import RETENTION_LOCK
from churn.retention.versions import expire_versions
from churn.training.train import USED_AT, lock_of, used_at

AS_OF = date(2024, 1, 31)
DAYS = 30
AGE = 40


@pytest.fixture
def url(mlflow_uri, database_url):
    mlflow.set_experiment(EXPERIMENT)
    MlflowClient().create_registered_model(MODEL_NAME)
    return database_url


def register(url, age=AGE, as_of=AS_OF):
    """Register a version with a run like the pipeline's, that many days ago, and decide on it."""
    client = MlflowClient()
    pipeline = make_pipeline(DummyClassifier(strategy="prior")).fit([[0]] * 4, [0, 0, 0, 1])
    with mlflow.start_run() as run:
        mlflow.log_text("x" * 1000, "training_set.parquet")
        mlflow.log_text("y" * 100, f"{EVIDENCE}/trained_on.parquet")
        mlflow.log_dict({}, "lineage.json")
        model = mlflow.sklearn.log_model(pipeline, name="model", pip_requirements=["scikit-learn"])
    tags = {"as_of": as_of.isoformat(), "threshold": "0.5", "feature_service": "churn_v1"}
    tags["data_digest"] = f"rows of {as_of}"
    version = int(mlflow.register_model(model.model_uri, MODEL_NAME, tags=tags).version)
    trust(version, "ada", "made by this test", url)
    with connect(url) as connection:
        decision = connection.execute(
            "INSERT INTO gate.decisions (as_of, candidate_version, run_id, graded_on, outcome, reason, report)"
            " VALUES (%s, %s, %s, %s, 'PROMOTE', 'good', '{}') RETURNING id",
            (as_of, version, run.info.run_id, as_of),
        ).fetchone()[0]
    client.log_text(run.info.run_id, "<p>why</p>", f"{folder_of(decision)}/report.html")
    make_older(version, age)
    return version


def make_older(version, days):
    """Backdate its registration by that many days."""
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion

    store = MlflowClient()._get_registry_client().store
    with store.ManagedSessionMaker(read_only=False) as session:
        found = session.query(SqlModelVersion).filter_by(name=MODEL_NAME, version=version).one()
        found.creation_time = int((time.time() - days * 86400) * 1000)


def promote(url, version, superior=False):
    current = registry.production(MlflowClient())
    against = current.version if current else None
    return promotion.promote(version, against, "good", url, superior=superior)


def there():
    return {int(each.version) for each in MlflowClient().search_model_versions(f"name = '{MODEL_NAME}'")}


def files(run_id, path=None):
    for each in MlflowClient().list_artifacts(run_id, path):
        yield from files(run_id, each.path) if each.is_dir else [each.path]


# --- what goes ---------------------------------------------------------------------------------------------------


def test_an_old_version_is_deleted(url):
    old, young = register(url, DAYS + 1), register(url, DAYS - 1)
    done = expire_versions(DAYS, url)
    assert (done.outcome, done.figures["versions"], done.figures["kept"]) == (DONE, [old], {})
    assert there() == {young}


def test_a_deleted_version_loses_model_and_large_files_but_keeps_its_decisions(url):
    version = register(url)
    found = MlflowClient().get_model_version(MODEL_NAME, str(version))
    expire_versions(DAYS, url)
    assert sorted(files(found.run_id)) == ["decisions/1/report.html", "lineage.json"]
    with pytest.raises(MlflowException, match="not found"):
        MlflowClient().get_logged_model(found.source.removeprefix("models:/"))
    with pytest.raises(ModelNotLoadable):
        load_pipeline(version, url)


def test_a_dry_run_reports_exact_bytes_and_changes_nothing(url, tmp_path):
    def on_disk():
        return {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}

    register(url)
    before = on_disk()
    tried = expire_versions(DAYS, url, dry_run=True)
    assert on_disk() == before
    assert there() == {1}
    done = expire_versions(DAYS, url)
    assert done.figures["versions"] == tried.figures["versions"] == [1]
    assert done.figures["bytes"] == tried.figures["bytes"] > 1100
    removed = sum(size for path, size in before.items() if not path.exists())
    assert removed == done.figures["bytes"]


def test_without_a_retention_period_no_version_is_deleted(url):
    register(url)
    assert expire_versions(None, url).outcome == UNCHANGED
    assert there() == {1}


def test_a_retention_period_below_one_day_is_refused(url):
    with pytest.raises(ValueError, match="1 day or more, not for 0"):
        expire_versions(0, url)


def test_with_no_model_registered_there_is_nothing_to_do(mlflow_uri, database_url):
    assert expire_versions(DAYS, database_url).outcome == UNCHANGED


def test_shared_files_are_kept_as_long_as_any_of_their_versions(url):
    version = register(url)
    found = MlflowClient().get_model_version(MODEL_NAME, str(version))
    again = int(mlflow.register_model(found.source, MODEL_NAME).version)
    expire_versions(DAYS, url)
    assert there() == {again}
    load_pipeline(again, url)
    make_older(again, AGE)
    assert expire_versions(DAYS, url).figures["bytes"] > 1000
    with pytest.raises(MlflowException, match="not found"):
        MlflowClient().get_logged_model(found.source.removeprefix("models:/"))


# --- what stays --------------------------------------------------------------------------------------------------


def test_versions_in_production_or_staging_are_kept(url):
    production, staging, other = (register(url) for _ in range(3))
    promote(url, production)
    MlflowClient().transition_model_version_stage(MODEL_NAME, str(staging), "Staging")
    done = expire_versions(DAYS, url)
    assert (done.figures["versions"], done.figures["kept"]) == ([other], {production: "Production", staging: "Staging"})


def test_the_last_three_productions_and_the_anchor_are_kept(url):
    versions = [register(url) for _ in range(6)]
    for version in versions:
        promote(url, version, superior=version == versions[0])
    done = expire_versions(DAYS, url)
    assert done.figures["versions"] == [versions[1]]
    assert done.figures["kept"] == {
        versions[0]: "the anchor of the gate",
        **dict.fromkeys(versions[2:5], "in Production before"),
        versions[5]: "Production",
    }
    assert rollback.rollback(None, "ada", "wrong prices", url).figures["version"] == versions[4]


def test_the_pinned_version_is_kept_even_outside_production(url):
    first, second = register(url), register(url)
    promote(url, first)
    rollback.rollback(first, "ada", "hold it", url)
    for stage, version in (("Archived", first), ("Production", second)):
        MlflowClient().transition_model_version_stage(MODEL_NAME, str(version), stage)
    MlflowClient().delete_registered_model_alias(MODEL_NAME, "champion")
    assert expire_versions(DAYS, url).figures["kept"][first] == "pinned"


def test_a_version_with_an_alias_is_kept(url):
    register(url)
    MlflowClient().set_registered_model_alias(MODEL_NAME, "best", "1")
    assert expire_versions(DAYS, url).figures["kept"] == {1: "alias best"}


def test_the_version_of_the_newest_drop_is_kept(url):
    with connect(url) as connection:
        execute(connection, "loading/record_revision", {
            "as_of": AS_OF, "revision": 1, "digest": "d", "code_digest": "c",
            "validated_at": "2024-02-01T00:00:00Z", "rules": 2, "files": "{}", "profile": None, "accepted": None,
            "landed_digests": [], "erased_rows": 0,
        })  # fmt: skip
    register(url)
    old = register(url, as_of=date(2023, 12, 31))
    done = expire_versions(DAYS, url)
    assert (done.figures["versions"], done.figures["kept"]) == ([old], {1: "of 2024-01-31, the newest AS_OF"})


def test_a_version_returned_by_a_training_is_kept_for_two_days(url):
    recent, before = register(url), register(url)
    for version, days in ((recent, 1), (before, 3)):
        tag = used_at(datetime.now(UTC) - timedelta(days=days))
        MlflowClient().set_model_version_tag(MODEL_NAME, str(version), USED_AT, tag)
    done = expire_versions(DAYS, url)
    kept = {recent: "returned by a training in the last 2 days"}
    assert (done.figures["versions"], done.figures["kept"]) == ([before], kept)


def test_a_version_that_a_running_training_can_return_is_kept(url):
    busy, idle = register(url), register(url, as_of=date(2023, 12, 31))
    with connect(url, autocommit=True) as training:
        lock_session(training, *lock_of(f"rows of {AS_OF}"))
        done = expire_versions(DAYS, url)
    assert (done.figures["versions"], done.figures["kept"]) == ([idle], {busy: "it is being trained"})


def test_an_unreadable_pin_stops_the_deletion_of_versions(url):
    register(url)
    MlflowClient().set_registered_model_tag(MODEL_NAME, moves.PIN, "mine")
    with pytest.raises(moves.PinUnreadable):
        expire_versions(DAYS, url)
    assert there() == {1}


# --- what is shown of it, and what may happen meanwhile ----------------------------------------------------------


def test_the_board_shows_decision_report_and_grades_of_a_deleted_version(url):
    version = register(url)
    expire_versions(DAYS, url)
    shown = board.read_board(url)
    assert [each.candidate_version for each in shown.decisions] == [version]
    decision = shown.decisions[0].id
    run_id = board.read_decision(url, decision).run_id
    assert board_registry.report_files(run_id, decision) == ["report.html"]
    assert board_registry.read_report_file(run_id, decision, "report.html") == b"<p>why</p>"
    assert board.read_grades(url, version, run_id)


def test_a_rollback_to_a_deleted_version_is_refused_with_the_reason(url):
    old = register(url)
    promote(url, register(url))
    expire_versions(DAYS, url)
    with pytest.raises(rollback.RollbackRefused, match=f"version {old} cannot be brought back.*no such version"):
        rollback.rollback(old, "ada", "why not", url)


def test_a_killed_deletion_of_versions_is_completed_by_the_next_run(url, monkeypatch):
    version = register(url)
    size = expire_versions(DAYS, url, dry_run=True).figures["bytes"]

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(MlflowClient, "delete_model_version", die)
        with pytest.raises(KeyboardInterrupt):
            expire_versions(DAYS, url)
    assert there() == {version}
    again = expire_versions(DAYS, url)
    assert (again.figures["versions"], there()) == ([version], set())
    assert again.figures["bytes"] < size


def test_retention_waits_for_a_running_backup(url):
    """A backup holds this lock from its first database to its last file."""
    register(url)
    with connect(url, autocommit=True) as backup, connect(url, autocommit=True) as watcher:
        execute(backup, "lock/wait_for_session", {"name": f"churn/{RETENTION_LOCK}"})
        waiting = _in_background(lambda: expire_versions(DAYS, url))
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
        while not watcher.execute(blocked).fetchone()[0]:
            assert waiting.is_alive()
            time.sleep(0.05)
        assert there() == {1}
    waiting.join()
    assert there() == set()


def _in_background(act):
    import threading

    thread = threading.Thread(target=act)
    thread.start()
    return thread
