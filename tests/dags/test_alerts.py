"""Alerts: their content, their delivery, and that a failed delivery does no harm."""

import json
import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.webhook import WORD, webhook

REPOSITORY = Path(__file__).parents[2]
RUN = "landing__2024-01-31__revision_1__0123456789ab"
VALIDATE = "DropRejected: usage_agg_30d.csv, line 2, column rebuffer_events_7d: expected a whole number >= 0"


@pytest.fixture
def hook(monkeypatch):
    with webhook() as hook:
        monkeypatch.setenv("AIRFLOW_CONN_CHURN_ALERTS", hook.connection)
        yield hook


class TaskInstance:
    """A fake of the task instance that Airflow passes to a callback."""

    dag_id, run_id = "churn_snapshot", RUN

    def __init__(self, states, errors=None, before=None):
        self.states, self.errors, self.before = states, errors or {}, before

    def get_task_states(self, dag_id, run_ids):
        return {run_ids[0]: self.states}

    def xcom_pull(self, task_ids, key, map_indexes):
        assert key == "error"
        return self.errors.get((task_ids, map_indexes))

    def get_previous_dagrun(self):
        return self.before


def failed(dag_bag, dag_id, ti, partition_key=None):
    """The context of a DAG's callback."""
    dag = dag_bag.dags[dag_id]
    run = SimpleNamespace(partition_key=partition_key, logical_date=datetime(2026, 5, 1, tzinfo=UTC))
    params = {name: None for name in dag.params}
    return {"dag": dag, "dag_run": run, "run_id": RUN, "params": params, "ti": ti, "reason": "task_failure"}


def test_an_alert_says_what_failed_for_which_as_of_why_what_to_do_and_where_to_look(dag_bag, hook):
    import alerts

    states = {"validate": "failed", "load": "upstream_failed", "snapshot": "upstream_failed", "supersede": None}
    ti = TaskInstance(states, {("validate", -1): VALIDATE})
    alerts.alert(failed(dag_bag, "churn_snapshot", ti, "2024-01-31"))
    (told,) = hook.received
    assert (told["title"], told["type"]) == ("churn_snapshot failed for AS_OF 2024-01-31", "failure")
    error, advice, run, runbook = told["message"].splitlines()
    assert error == f"validate: {VALIDATE}"
    assert advice.startswith("What to do: `validate` is red: the drop violates its contract")
    assert run == f"Run: http://localhost:8080/dags/churn_snapshot/runs/{RUN}"
    assert runbook == "Runbook: http://localhost:8080/dags/churn_snapshot (Dag Docs)"


def test_an_alert_explains_why_a_failed_task_recorded_no_error(dag_bag, hook):
    import alerts

    alerts.alert(failed(dag_bag, "churn_train", TaskInstance({"train": "failed"}), "2024-01-31"))
    assert "train: no error stored: the task was killed, for example out of memory" in hook.received[0]["message"]


def test_each_failed_mapped_task_is_in_the_alert_with_its_own_error(dag_bag, hook):
    import alerts

    states = {"find_drops": "success", "start_chain_0": "success", "start_chain_2": "failed"}
    alerts.alert(failed(dag_bag, "churn_landing", TaskInstance(states, {("start_chain", 2): "Timeout: api"})))
    (told,) = hook.received
    assert told["title"] == "churn_landing failed"
    assert told["message"].startswith("start_chain[2]: Timeout: api\nWhat to do: `find_drops` or `start_chain` is red")


def test_a_failed_run_without_a_failed_task_sends_an_alert(dag_bag, hook):
    import alerts

    alerts.alert({"dag": dag_bag.dags["churn_train"], "run_id": RUN, "reason": "all_tasks_deadlocked"})
    assert hook.received[0]["title"] == "churn_train failed"
    assert "/dags/churn_train/runs/" in hook.received[0]["message"]


@pytest.mark.parametrize("question", ["get_task_states", "xcom_pull", "get_previous_dagrun"])
@pytest.mark.parametrize("tell", ["alert", "alert_when_it_begins"])
def test_an_alert_is_sent_when_airflow_does_not_say_what_failed(dag_bag, hook, caplog, monkeypatch, tell, question):
    import alerts

    def away(*_, **__):
        raise RuntimeError(f"the API does not answer; {WORD}")

    ti = TaskInstance({"find_drops": "failed"}, {("find_drops", -1): "OSError: disk"})
    monkeypatch.setattr(ti, question, away)
    getattr(alerts, tell)(failed(dag_bag, "churn_landing", ti))
    (told,) = hook.received
    assert told["title"] == "churn_landing failed"
    lines = told["message"].splitlines()
    assert lines[0] == (alerts.UNKNOWN if question != "get_previous_dagrun" else "find_drops: OSError: disk")
    assert lines[-2].endswith(f"/dags/churn_landing/runs/{RUN}")
    assert lines[-1].startswith("Runbook: ")
    assert WORD not in told["message"] + caplog.text


@pytest.mark.parametrize(("before", "told"), [(None, 1), ("success", 1), ("failed", 0)])
def test_a_dag_that_runs_every_few_minutes_alerts_only_at_its_first_failure(dag_bag, hook, before, told):
    import alerts

    ti = TaskInstance({"find_drops": "failed"}, before=before and SimpleNamespace(state=before))
    alerts.alert_when_it_begins(failed(dag_bag, "churn_landing", ti))
    assert len(hook.received) == told


def test_every_dag_alerts_on_failure_and_every_task_records_its_error(dag_bag):
    import alerts

    for dag in dag_bag.dags.values():
        expected = alerts.alert_when_it_begins if dag.dag_id == "churn_landing" else alerts.alert
        assert dag.on_failure_callback is expected, dag.dag_id
        for task in dag.tasks:
            assert list(task.on_failure_callback) == [alerts.keep_error], task.task_id


def test_every_task_has_a_runbook_paragraph_for_its_failure(dag_bag):
    import alerts

    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            assert alerts.advice_for({task.task_id}, dag.doc_md), task.task_id


def test_a_task_records_its_error_in_one_line_that_names_the_cause():
    from airflow.sdk.exceptions import AirflowFailException

    import alerts
    import run

    left = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: left.update({key: value}))
    with pytest.raises(AirflowFailException) as raised, run.no_retry(ValueError):
        raise ValueError("1 of 5 files:\n  users.csv" + 700 * "x")
    alerts.keep_error({"exception": raised.value, "ti": ti})
    assert left["error"].startswith("ValueError: 1 of 5 files: users.csvx")
    assert len(left["error"]) == alerts.LONGEST


def test_a_recorded_error_quotes_no_value_of_a_rejected_drop():
    from airflow.sdk.exceptions import AirflowFailException

    import alerts
    import run
    from churn.drops.violations import DropRejected, Violations

    violations = Violations()
    violations.add("users.csv", "a customer once", line=7, column="user_id", value="7892-POOKP")
    with pytest.raises(AirflowFailException, match="7892-POOKP") as raised, run.no_retry(DropRejected):
        violations.raise_if_any("2024-01-31")
    assert alerts.one_line(raised.value) == (
        "DropRejected: drop 2024-01-31 rejected, nothing of it is loaded; values are in the task's log: "
        "users.csv, line 7, column user_id: expected a customer once"
    )


def test_a_recorded_error_of_postgres_quotes_no_row():
    import alerts

    class UniqueViolation(Exception):
        diag = SimpleNamespace(message_primary='duplicate key value violates unique constraint "users_pkey"')

    error = UniqueViolation(f"{UniqueViolation.diag.message_primary}\nDETAIL:  Key (user_id)=(7892-POOKP) exists.")
    assert alerts.one_line(error) == f"UniqueViolation: {UniqueViolation.diag.message_primary}"


def test_without_a_task_instance_no_error_is_recorded():
    import alerts

    alerts.keep_error({"ti": None})


def test_a_recorded_error_masks_the_secrets_of_connections(monkeypatch):
    import alerts
    import run

    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", f"postgresql://me:{WORD}@localhost/churn")
    error = RuntimeError(f"cannot connect to {run.database_url()}")
    assert alerts.one_line(error) == "RuntimeError: cannot connect to postgresql://me:***@localhost/churn"


def test_without_a_connection_no_alert_is_sent_and_the_log_says_so(monkeypatch, caplog):
    import alerts

    monkeypatch.delenv("AIRFLOW_CONN_CHURN_ALERTS", raising=False)
    with caplog.at_level(logging.INFO, "alerts"):
        alerts.send("title", "body")
    (line,) = [record for record in caplog.records if record.name == "alerts"]
    assert (line.levelname, line.getMessage().split(":")[0]) == ("INFO", "no alert")


def test_an_undeliverable_alert_is_logged_without_the_password_and_raises_nothing(dag_bag, monkeypatch, caplog):
    import alerts

    with webhook() as gone:
        pass
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_ALERTS", gone.connection)
    with caplog.at_level(logging.DEBUG):
        alerts.alert(failed(dag_bag, "churn_snapshot", TaskInstance({"load": "failed"})))
    assert "was not taken by every service of the connection churn_alerts" in caplog.text
    assert WORD not in caplog.text


@pytest.mark.parametrize(
    "extra",
    [{}, {"config": {"url": WORD}}, {"config": WORD}, {"config": {"path": f"nonsense://{WORD}@host"}}],
    ids=["no config", "no path", "not JSON", "no such service"],
)
def test_an_invalid_alert_connection_is_logged_without_its_content_and_raises_nothing(
    dag_bag, monkeypatch, caplog, extra
):
    import alerts

    monkeypatch.setenv("AIRFLOW_CONN_CHURN_ALERTS", json.dumps({"conn_type": "apprise", "extra": extra}))
    with caplog.at_level(logging.DEBUG):
        alerts.alert(failed(dag_bag, "churn_snapshot", TaskInstance({"load": "failed"})))
    assert [record.levelname for record in caplog.records if record.name == "alerts"] == ["ERROR"]
    assert WORD not in caplog.text


def test_an_unreachable_alert_channel_does_not_block_the_others(hook, monkeypatch, caplog):
    import alerts

    config = [{"path": f"nonsense://{WORD}@host"}, {"path": f"json://127.0.0.1:{hook.port}"}]
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_ALERTS", json.dumps({"conn_type": "apprise", "extra": {"config": config}}))
    alerts.send("title", "body")
    assert [told["title"] for told in hook.received] == ["title"]
    assert "was not taken by every service" in caplog.text


def test_apprise_accepts_every_address_in_the_manual():
    from apprise import Apprise

    manual = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = [json.loads(config)["path"] for config in re.findall(r"\| `(\{.*?\})` \|", manual)]
    services = Apprise()
    assert all(services.add(url) for url in shown)
    assert [type(service).__name__ for service in services] == [
        "NotifyEmail", "NotifySlack", "NotifySlack", "NotifyPagerDuty", "NotifyJSON",
    ]  # fmt: skip


def test_a_value_of_a_drop_that_an_error_quotes_is_neither_a_link_nor_a_mention_in_slack(monkeypatch):
    import requests

    import alerts

    sent = []

    def send(_, request, **__):
        sent.append(json.loads(request.body))
        answer = requests.Response()
        answer.status_code, answer._content = 200, b"ok"
        return answer

    monkeypatch.setattr(requests.Session, "send", send)
    config = {"path": "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7"}
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_ALERTS", json.dumps({"conn_type": "apprise", "extra": {"config": config}}))
    alerts.send("title", "validate: '<!channel>' '<https://evil.example|the run>'")
    assert sent[0]["attachments"][0]["text"].startswith("validate: '&lt;!channel&gt;' '&lt;https://evil.example|")
