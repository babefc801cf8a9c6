"""The whole stack as a user starts it: the commands, the real scheduler, the registry and HTTP."""

import csv
import json
import re
import shutil
from datetime import date
from pathlib import Path

import requests

from churn.features.store import feature_types, load_definitions
from tests.e2e.stack import FEBRUARY, JANUARY, MARCH, Stack
from tests.patience import wait_for

TABLES = (
    "subscriptions_profile_snapshots",
    "usage_agg_30d_snapshots",
    "payments_agg_90d_snapshots",
    "support_agg_90d_snapshots",
)


def features_of_production(stack):
    """The features of the version in Production, which scored the newest date."""
    ((name,),) = stack.query("SELECT feature_service FROM scores.runs ORDER BY as_of DESC, revision DESC LIMIT 1")
    return feature_types(next(each for each in load_definitions() if each.name == name))


def test_run_prints_the_result_of_every_as_of_and_one_prediction(stack):
    text = (Path(stack.settings["CHURN_HOME"]) / "run.txt").read_text()
    # Each line tells the last decision: churn_landing, which looks by itself now and then, may have started a chain
    # beside, and January, looked at again after February, is older than Production.
    assert re.search(
        rf"^{JANUARY} +\d+ +0\.\d+ +(-|0\.\d+) +(PROMOTE|KEEP) +1 +\d+ by version \d+ +as promised$", text, re.MULTILINE
    ), text
    assert re.search(
        rf"^{FEBRUARY} +\d+ +0\.\d+ +0\.\d+ +(PROMOTE|KEEP) +2 +\d+ by version \d+ +as promised$", text, re.MULTILINE
    ), text
    assert re.search(
        r"^verdict on Production: version \d+ on \d{4}-\d\d-\d\d: as promised: AUC 0\.\d+", text, re.MULTILINE
    )
    assert "most likely to leave" in text
    assert stack.decided()[0] == (date.fromisoformat(JANUARY), "PROMOTE", 1)
    promoted = [version for _, outcome, version in stack.decided() if outcome == "PROMOTE"]
    assert json.loads(text[text.index("{") : text.rindex("}") + 1])["model"]["version"] == max(promoted)
    for address in ("AIRFLOW_URL", "MLFLOW_URL", "SERVING_URL"):
        assert stack.settings[address] in text


def test_every_snapshot_table_holds_every_customer_of_every_drop(stack):
    for as_of in (JANUARY, FEBRUARY):
        customers = len((stack.drops / as_of / "users.csv").read_text().splitlines()) - 1
        labels = len((stack.drops / as_of / "labels.csv").read_text().splitlines()) - 1
        for table in TABLES:
            assert stack.query(f"SELECT count(*) FROM snapshots.{table} WHERE as_of = '{as_of}'") == [(customers,)]
        assert stack.query(f"SELECT count(*) FROM snapshots.labels_snapshots WHERE as_of = '{as_of}'") == [(labels,)]


def test_predict_answers_with_the_exact_features_of_the_newest_as_of(stack):
    header, first, *_ = (stack.drops / FEBRUARY / "usage_agg_30d.csv").read_text().splitlines()
    usage = dict(zip(header.split(","), first.split(","), strict=True))
    expected = {name: value for name, value in usage.items() if name in features_of_production(stack)}
    answer = stack.predict(usage["user_id"])
    assert answer.status_code == 200
    body = answer.json()
    assert {name: str(body["features_used"][name]) for name in expected} == expected
    assert body["features_as_of"] == FEBRUARY
    assert set(body["features_used"]) == set(features_of_production(stack))
    assert 0 <= body["churn_probability"] <= 1
    assert body["prediction"] == int(body["churn_probability"] >= body["threshold"])


def test_a_customer_without_internet_gets_a_prediction_with_nulls_among_the_features(stack):
    with (stack.drops / FEBRUARY / "subscriptions.csv").open(newline="") as file:
        user_id = next(row["user_id"] for row in csv.DictReader(file) if row["net_service"] == "No")
    features = stack.predict(user_id).json()["features_used"]
    assert (features["net_service"], features["plan_stream_tv"], features["plan_stream_movies"]) == ("No", None, None)


def test_an_explained_answer_is_kept_in_the_prediction_log(stack):
    user_id = (stack.drops / FEBRUARY / "users.csv").read_text().splitlines()[2].split(",")[0]
    url = stack.settings["SERVING_URL"]
    answer = requests.post(f"{url}/predict?explain=true", json={"user_id": user_id}, timeout=10).json()
    effects = answer["explanation"]["effects"]
    assert {each["feature"] for each in effects} == set(answer["features_used"])
    assert abs(effects[0]["effect"]) > 0
    kept = f"SELECT churn_probability, features FROM predictions.answered WHERE user_id = '{user_id}'"
    wait_for(lambda: stack.query(kept), seconds=60)
    assert stack.query(kept)[0] == (answer["churn_probability"], answer["features_used"])
    assert "<title>" in requests.get(url, timeout=10).text


def test_an_unknown_customer_is_a_problem_that_names_the_missing_features(stack):
    answer = stack.predict("999999")
    assert (answer.status_code, answer.json()["type"]) == (404, "unknown-user")
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()["missing_features"]) == set(features_of_production(stack))


def test_every_customer_of_every_date_is_scored_and_the_command_shows_who_is_first(stack):
    rows = "SELECT as_of, count(*), count(DISTINCT rank), max(rank) FROM scores.current GROUP BY as_of ORDER BY as_of"
    counts = [(as_of, *[len((stack.drops / str(as_of) / "users.csv").read_text().splitlines()) - 1] * 3)
              for as_of in map(date.fromisoformat, (JANUARY, FEBRUARY))]  # fmt: skip
    assert stack.query(rows) == counts
    done = stack.make("scores", f"AS_OF={FEBRUARY}", "TOP=3")
    assert done.returncode == 0, done.stdout + done.stderr
    first = stack.query(f"SELECT user_id FROM scores.current WHERE as_of = '{FEBRUARY}' ORDER BY rank LIMIT 3")
    assert all(user_id in done.stdout for (user_id,) in first)
    assert "the risk by" in done.stdout
    missing = stack.make("scores", "AS_OF=2023-01-01")
    assert missing.returncode != 0
    assert "there is no list of 2023-01-01" in missing.stderr


def test_a_backfill_works_on_the_dates_with_a_drop_oldest_first_and_says_why_it_skips_the_others(stack):
    """The second drop's runs queue behind the first one's training."""
    days = [date(2024, 3, 1), date(2024, 3, 2)]
    for number, day in enumerate(days):
        stack.land_with_another_value(stack.drops / JANUARY, day, 700 + number)
    done = stack.make("backfill", f"FROM={days[0]}", "TO=2024-03-03")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("nothing to do: there is no drop") == 1
    assert "1 of 3 dates have no loaded drop" in done.stdout
    # Their labels overlap those of February: no version learns from them, and February's scores them.
    assert [as_of for as_of, _, _ in stack.decided() if as_of in days] == []
    scored = f"SELECT as_of FROM scores.runs WHERE as_of BETWEEN '{days[0]}' AND '{days[1]}' ORDER BY scored_at"
    assert stack.query(scored) == [(day,) for day in days]
    assert stack.query(
        f"SELECT as_of, max(skips_7d) FROM snapshots.usage_agg_30d_snapshots WHERE as_of IN ('{days[0]}', '{days[1]}') "
        "GROUP BY as_of ORDER BY as_of"
    ) == [(days[0], 700), (days[1], 701)]


def test_a_damaged_drop_is_refused_with_its_error_and_changes_nothing(stack):
    landing = Path(stack.settings["LANDING_DIR"])
    damaged = landing / "2024-03-15"
    shutil.copytree(stack.drops / MARCH, damaged)
    (damaged / "manifest.json").unlink()
    usage = damaged / "usage_agg_30d.csv"
    header, first, *rest = usage.read_text().splitlines()
    usage.write_text("\n".join([header, first.rsplit(",", 1)[0] + ",many", *rest]) + "\n")
    before = stack.query("SELECT * FROM raw.drops ORDER BY 1"), stack.query("SELECT * FROM snapshots.builds ORDER BY 1")
    done = stack.make("trigger", "AS_OF=2024-03-15")
    shutil.rmtree(damaged)
    assert done.returncode != 0
    assert "usage_agg_30d.csv, line 2, column rebuffer_events_7d: 'many': expected a whole number >= 0" in done.stdout
    assert before == (
        stack.query("SELECT * FROM raw.drops ORDER BY 1"),
        stack.query("SELECT * FROM snapshots.builds ORDER BY 1"),
    )
    failed = [run["dag_run_id"] for run in stack.runs("churn_snapshot") if run["state"] == "failed"]
    assert len(failed) == 1


def test_a_drop_in_the_landing_directory_starts_the_whole_chain(stack):
    landing = Path(stack.settings["LANDING_DIR"])
    shutil.copytree(stack.drops / MARCH, landing / ".copying")
    (landing / ".copying").rename(landing / MARCH)
    # It looks by itself every five minutes; a person in a hurry asks it to look now.
    stack.airflow("POST", "/dags/churn_landing/dagRuns", json={"logical_date": None})
    wait_for(lambda: stack.query(f"SELECT outcome FROM gate.decisions WHERE as_of = '{MARCH}'"), seconds=240)
    runs = [run["dag_run_id"] for run in stack.runs("churn_snapshot")]
    assert len([run for run in runs if run.startswith(f"landing__{MARCH}__revision_1__")]) == 1
    assert stack.query("SELECT as_of FROM online.served") == [(date.fromisoformat(MARCH),)]


def test_the_ui_can_rerun_january_which_ends_in_the_gate_and_changes_neither_features_nor_production(stack):
    def trained() -> int:
        runs = stack.runs("churn_train")
        return sum(run["partition_key"] == JANUARY and run["state"] == "success" for run in runs)

    # March's decision is followed by its promotion.
    wait_for(lambda: not [run for run in stack.runs() if run["state"] in ("queued", "running")], seconds=240)
    before, production = trained(), (stack.production(), stack.query("SELECT as_of, build FROM online.served"))
    stack.airflow("POST", "/dags/churn_snapshot/dagRuns", json={"logical_date": None, "conf": {"as_of": JANUARY}})
    wait_for(lambda: trained() > before, seconds=240)
    tasks = stack.airflow("GET", "/dags/churn_train/dagRuns/~/taskInstances", params={"limit": 1000})["task_instances"]
    assert {task["state"] for task in tasks if task["task_id"] == "gate"} == {"success"}
    assert (stack.production(), stack.query("SELECT as_of, build FROM online.served")) == production


def test_serving_follows_a_version_that_a_person_moves_to_production_without_a_restart(stack):
    client, before = stack.client(), stack.production()
    other = next(v for v in (1, 2, 3) if v != before)
    user_id = (stack.drops / MARCH / "users.csv").read_text().splitlines()[1].split(",")[0]
    client.transition_model_version_stage("streamflow_churn", str(other), "Production", archive_existing_versions=True)
    # Two workers follow by themselves: five answers in a row are of both.
    wait_for(
        lambda: {stack.predict(user_id).json()["model"]["version"] for _ in range(5)} == {other},
        seconds=120,
        or_say=lambda: f"{stack.production()} in Production, not {other}; {stack.log('serving')}",
    )
    client.transition_model_version_stage("streamflow_churn", str(before), "Production", archive_existing_versions=True)


def test_only_the_run_of_the_damaged_drop_failed(stack):
    failed = {run["dag_run_id"] for run in stack.runs() if run["state"] == "failed"}
    unexpected = {run for run in failed if "2024-03-15" not in json.dumps(_conf(stack, run))}
    assert unexpected == set()


def test_logs_of_successful_tasks_have_no_error(stack):
    logs = Path(stack.settings["CHURN_HOME"]) / "airflow" / "logs"
    tasks = stack.airflow("GET", "/dags/~/dagRuns/~/taskInstances", params={"limit": 1000, "state": "success"})
    green = {(task["dag_id"], task["dag_run_id"], task["task_id"]) for task in tasks["task_instances"]}
    assert len(green) > 20
    said = []
    for dag_id, run_id, task_id in green:
        attempts = (logs / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}").rglob("attempt=*.log")
        # The last one is the one that was green.
        *_, last = sorted(attempts, key=lambda path: path.stat().st_mtime)
        said += [f"{task_id}: {line}" for line in last.read_text().splitlines() if is_error(line)]
    assert said == []


def is_error(line: str) -> bool:
    return json.loads(line).get("level") in ("error", "critical")


def test_a_run_with_an_unknown_parameter_fails_at_once_and_names_it(stack):
    path, tasks = fail(stack, {"threshold": {"max_auc_loss": 1}})
    assert (tasks["train"]["state"], tasks["train"]["try_number"]) == ("failed", 1)
    error = stack.airflow("GET", f"{path}/taskInstances/train/xcomEntries/error")["value"]
    assert "unknown parameter 'threshold' (did you mean 'thresholds'?); there is approval, as_of, thresholds" in error
    stack.airflow("DELETE", path)


def test_the_list_is_written_although_the_gate_failed(stack):
    revisions = stack.forget_list(FEBRUARY)
    path, tasks = fail(stack, {"thresholds": {"max_loss": 1}})
    assert (tasks["train"]["state"], tasks["gate"]["state"]) == ("success", "failed")
    newest = f"SELECT max(revision) FROM scores.runs WHERE as_of = '{FEBRUARY}'"
    wait_for(lambda: stack.query(newest) == [(revisions + 1,)], seconds=120)
    stack.airflow("DELETE", path)


def test_the_list_is_written_although_the_decision_is_invalid(stack):
    revisions = stack.forget_list(FEBRUARY)
    client, version = stack.client(), next(str(made[2]) for made in stack.decided()[::-1] if str(made[0]) == FEBRUARY)
    salt = client.get_model_version("streamflow_churn", version).tags["cohort_salt"]
    client.set_model_version_tag("streamflow_churn", version, "cohort_salt", "another")
    try:
        # A threshold that changes nothing, so that the gate decides again.
        path, _ = fail(stack, {"thresholds": {"max_latency_ms": 99}})
    finally:
        client.set_model_version_tag("streamflow_churn", version, "cohort_salt", salt)
    assert "GateInvalid" in stack.airflow("GET", f"{path}/taskInstances/gate/xcomEntries/error")["value"]
    assert stack.decided()[-1][1:] == ("INVALID", int(version))
    newest = f"SELECT max(revision) FROM scores.runs WHERE as_of = '{FEBRUARY}'"
    wait_for(lambda: stack.query(newest) == [(revisions + 1,)], seconds=120)
    stack.airflow("DELETE", path)


def fail(stack: Stack, conf: dict) -> tuple[str, dict[str, dict]]:
    """Let a run of churn_train fail, and return its path and its tasks."""
    conf = {"as_of": FEBRUARY, **conf}
    run = stack.airflow("POST", "/dags/churn_train/dagRuns", json={"logical_date": None, "conf": conf})["dag_run_id"]
    path = f"/dags/churn_train/dagRuns/{run}"
    wait_for(lambda: stack.airflow("GET", path)["state"] == "failed", seconds=300)
    tasks = stack.airflow("GET", f"{path}/taskInstances")["task_instances"]
    return path, {each["task_id"]: each for each in tasks}


def test_status_reports_a_healthy_stack(stack):
    done = stack.make("status")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("running") == 7
    assert "last decision" in done.stdout
    assert " is served online" in done.stdout
    assert f"verdict on Production: version {stack.production()} " in done.stdout


def test_a_corrected_drop_supersedes_the_version_of_a_later_date_and_status_says_so(stack, corrected):
    february = next(line for line in stack.make("status").stdout.splitlines() if line.startswith(FEBRUARY))
    assert re.search(r" \d+ superseded ", february)


def _conf(stack: Stack, run_id: str) -> dict:
    return next(run["conf"] or {} for run in stack.runs() if run["dag_run_id"] == run_id)
