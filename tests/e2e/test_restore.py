"""A backup of the running stack, restored into an empty one: same data, Production and predictions."""

import json
from pathlib import Path

import psycopg

from tests.database_dump import dump
from tests.e2e.stack import APRIL, FEBRUARY, MARCH, Stack
from tests.patience import wait_for

HELD = ("raw", "snapshots", "online", "feast", "gate", "scores")

RIGHTS = {
    "tables": "SELECT oid::regclass::text, relacl::text FROM pg_class WHERE relacl::text LIKE '%serving%' ORDER BY 1",
    "schemas": "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspacl::text LIKE '%serving%' ORDER BY 1",
    "tables to come": "SELECT defaclnamespace::regnamespace::text, defaclacl::text FROM pg_default_acl ORDER BY 1",
    "the database": "SELECT datacl::text, setconfig FROM pg_database d JOIN pg_db_role_setting ON setdatabase = d.oid"
    " WHERE datname = current_database()",
}


def customers(stack: Stack, count: int) -> list[str]:
    rows = (stack.drops / FEBRUARY / "users.csv").read_text().splitlines()[1 : count + 1]
    return [row.split(",")[0] for row in rows]


def versions(stack: Stack) -> set[tuple[str, str, str]]:
    found = stack.client().search_model_versions("name = 'streamflow_churn'")
    return {(each.version, each.current_stage, str(sorted(each.tags.items()))) for each in found}


def trainings(stack: Stack) -> set[tuple]:
    """Return the successful runs of churn_train in Airflow's database."""
    with psycopg.connect(stack.settings["CHURN_DATABASE_URL"].replace("/churn?", "/airflow?")) as connection:
        return {*connection.execute("SELECT run_id FROM dag_run WHERE dag_id = 'churn_train' AND state = 'success'")}


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_every_table_of_the_pipeline_is_the_same_to_the_byte(stack, restored):
    first, second = (dump(each.settings["CHURN_DATABASE_URL"], *HELD) for each in (stack, restored))
    assert first.keys() == second.keys()
    assert [table for table in first if first[table] != second[table]] == []
    assert len(first["snapshots", "builds"].splitlines()) >= 2


def test_the_same_version_is_in_production_and_every_version_is_there(stack, restored):
    assert restored.production() == stack.production()
    first, second = (
        {
            (each.version, each.current_stage)
            for each in each.client().search_model_versions("name = 'streamflow_churn'")
        }
        for each in (stack, restored)
    )
    assert first == second


def test_the_same_customers_get_the_same_answers(stack, restored):
    wait_for(lambda: restored.predict("nobody").status_code == 404, seconds=120, or_say=lambda: restored.log("serving"))
    for user_id in customers(stack, 25):
        assert restored.predict(user_id).json() == stack.predict(user_id).json()


def test_serving_keeps_its_own_role_and_rights(stack, restored):
    assert "churn_serving" in restored.settings["SERVING_DATABASE_URL"]
    user_id = customers(stack, 26)[-1]
    assert restored.predict(user_id).status_code == 200
    wait_for(lambda: restored.query(f"SELECT FROM predictions.answered WHERE user_id = '{user_id}'"), seconds=60)
    for what, query in RIGHTS.items():
        assert restored.query(query) == stack.query(query), what


def test_airflow_has_its_runs_and_can_read_its_secrets(stack, restored):
    secrets = [Path(each.settings["CHURN_HOME"]) / "secrets.json" for each in (stack, restored)]
    assert secrets[0].read_bytes() == secrets[1].read_bytes()
    assert secrets[1].stat().st_mode & 0o777 == 0o600
    first, second = (trainings(each) for each in (stack, restored))
    assert second
    assert second <= first


def test_the_archive_the_artifacts_and_the_files_of_the_list_are_the_same(stack, restored):
    for part in ("archive", "mlflow/artifacts", "scores"):
        first, second = (files(Path(each.settings["CHURN_HOME"]) / part) for each in (stack, restored))
        assert first == second != {}


def test_a_backup_is_private_to_its_owner_and_has_a_manifest(backup):
    assert backup.stat().st_mode & 0o777 == 0o700
    said = json.loads((backup / "manifest.json").read_text())
    assert set(said["files"]) | {"manifest.json"} == set(files(backup))
    assert said["packages"].keys() == {"apache-airflow", "feast", "mlflow"}


def test_a_restore_does_not_overwrite_a_stack(backup, restored):
    done = restored.make("restore", f"FROM={backup}")
    assert done.returncode != 0
    assert "is not empty" in done.stderr


def test_a_backup_is_not_overwritten(stack, backup):
    done = stack.make("backup", f"TO={backup}")
    assert done.returncode != 0
    assert "exists: name a new directory" in done.stderr


def test_a_queued_run_continues_in_the_restored_stack_and_is_served(restored):
    """The last test of this file, as it makes the two stacks differ."""
    restored.airflow("PATCH", "/dags/churn_snapshot", json={"is_paused": False})
    of_april = f"SELECT FROM gate.decisions WHERE as_of = '{APRIL}'"
    wait_for(lambda: restored.query(of_april), seconds=240, or_say=lambda: restored.log("airflow-scheduler"))
    wait_for(lambda: {run["state"] for run in restored.runs("churn_train")} <= {"success", "failed"}, seconds=60)
    runs = {run["dag_run_id"]: run["state"] for run in restored.runs("churn_snapshot")}
    assert [state for run, state in runs.items() if run.startswith(f"landing__{APRIL}__")] == ["success"]
    user_id = (restored.drops / MARCH / "users.csv").read_text().splitlines()[1].split(",")[0]
    assert restored.predict(user_id).json()["features_as_of"] == APRIL
