"""Failure alerts: one per failed DAG run, sent through the Airflow connection `churn_alerts` (mail, Slack, a webhook).

The DAG processor calls the on_failure_callback of a DAG for every failed run. A task's callback runs in the task's own
process and is lost when that process is killed, for example out of memory (Airflow 3.3, #60858). Task callbacks
therefore only store the error; the DAG's callback sends the alert.

Without the connection no alert is sent. A failed delivery fails no run. The log of the DAG processor records both.
Secrets that Airflow knows are masked.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any
from urllib.parse import quote

from churn.as_of import AsOfError, resolve_as_of

log = logging.getLogger(__name__)

CONNECTION = "churn_alerts"
"""Of type Apprise: its field config is {"path": "<URL of the service>"}, or a list of these."""

ERROR = "error"
"""XCom key of a failed task's error."""

LONGEST = 600
"""Maximum length of an error in characters: what a phone shows."""

KILLED = "no error stored: the task was killed, for example out of memory, or never started; see its log"

UNKNOWN = "The failed tasks are unknown: Airflow's API or its database did not answer. See the run's page."


def keep_error(context: Mapping[str, Any]) -> None:
    """on_failure_callback of every task: store its error as one line for the alert about its run."""
    # The context has no exception when the DAG processor calls this for a killed task.
    if error := context.get("exception"):
        context["ti"].xcom_push(key=ERROR, value=one_line(error))


def alert(context: Mapping[str, Any]) -> None:
    """on_failure_callback of every DAG: send the failed tasks, their errors, the runbook's advice and links."""
    try:
        send(*_message(context))
    except Exception as error:  # the run has failed already; log the lost alert
        # Neither text nor traceback is logged: they can contain credentials from a URL.
        log.error("no alert about %s: %s; see docs/operations.md", context.get("run_id"), type(error).__name__)


def alert_when_it_begins(context: Mapping[str, Any]) -> None:
    """The same for a DAG that runs every few minutes: alert only if the previous run did not fail."""
    if _the_one_before_failed(context):
        log.info("no alert about %s: the previous run failed too", context["run_id"])
        return
    alert(context)


def one_line(error: BaseException) -> str:
    """Return an error's type and text as one line of at most LONGEST characters, with secrets masked.

    XCom and alerts outlast an erasure, so an error that quotes values of a drop is returned without them.
    """
    from airflow.sdk.exceptions import AirflowFailException
    from airflow.sdk.log import redact

    if isinstance(error, AirflowFailException) and error.__cause__:
        # no_retry() wraps the original error.
        error = error.__cause__
    text = " ".join(f"{type(error).__name__}: {redact(_without_values(error))}".split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _without_values(error: BaseException) -> str:
    """Return the text of an error without rows that it quotes: Postgres quotes them in details and contexts."""
    of_postgres = getattr(getattr(error, "diag", None), "message_primary", None)
    return getattr(error, "without_values", None) or of_postgres or str(error)


def compose(
    dag_id: str,
    run_id: str,
    *,
    as_of: str | None,
    failed: Mapping[str, str | None] | None,
    runbook: str,
    airflow_url: str,
) -> tuple[str, str]:
    """Return the title and text of the alert.

    Args:
        failed: error by failed task, None for a task without a stored error; a mapped task is called `start_chain[2]`.
            None if Airflow could not be queried.
        runbook: the doc_md of the DAG.
        airflow_url: the base URL of the Airflow UI.
    """
    title = f"{dag_id} failed" + (f" for AS_OF {as_of}" if as_of else "")
    page = f"{airflow_url.rstrip('/')}/dags/{dag_id}"
    lines = [UNKNOWN] if failed is None else [f"{task}: {error or KILLED}" for task, error in failed.items()]
    tasks = {name.partition("[")[0] for name in failed or ()}
    lines += [f"What to do: {advice}" for advice in advice_for(tasks, runbook)]
    lines += [f"Run: {page}/runs/{quote(run_id, safe='')}", f"Runbook: {page} (Dag Docs)"]
    return title, "\n".join(lines)


def advice_for(tasks: set[str], runbook: str) -> list[str]:
    """Return the paragraphs of a runbook about failures of these tasks.

    Such a paragraph begins with a bold heading that contains "red" and names its tasks. Without names it is about all.
    """
    found = []
    for paragraph in runbook.split("\n\n"):
        text = " ".join(paragraph.split())
        heading = text[2:].partition("**")[0] if text.startswith("**") else ""
        named = set(heading.split("`")[1::2])
        if " red" in heading and (not named or named & tasks):
            found.append(text.replace("**", ""))
    return found


def tell(title: str, body: str) -> None:
    """Send what is no failure; nothing fails if it cannot be sent."""
    try:
        send(title, body)
    except Exception as error:  # as in alert()
        log.error("the message %r was not sent: %s; see docs/operations.md", title, type(error).__name__)


def alert_verdicts(database_url: str) -> list[str]:
    """Send an alert for each model version whose verdict changed since the last one about it; return the titles.

    A task that is killed between the two sends it again.
    """
    from mlflow import MlflowClient

    from churn.outcomes.alarms import find_changes, record_alert
    from churn.registry import client as registry

    changes = find_changes(database_url, registry.production(MlflowClient()))
    for change in changes:
        tell(change.title, change.text)
        record_alert(database_url, change)
    return [change.title for change in changes]


def send(title: str, body: str) -> None:
    """Send a message to every service of the connection; log each failure."""
    from airflow.providers.apprise.hooks.apprise import AppriseHook
    from airflow.sdk.exceptions import AirflowNotFoundException
    from apprise import Apprise, NotifyFormat, NotifyType

    hook = AppriseHook(CONNECTION)
    try:
        connection = hook.get_connection(CONNECTION)
    except AirflowNotFoundException:
        log.info("no alert: Airflow has no connection %s; docs/operations.md says how to make it", CONNECTION)
        return
    config = hook.get_config_from_conn(connection)
    urls = [each["path"] for each in (config if isinstance(config, list) else [config])]
    services = Apprise()
    with _silent("apprise"):
        # Apprise logs an unknown URL with its credentials.
        known = [services.add(url) for url in urls]
    # Plain text: an error may quote texts of a drop, and none may become a link or a mention. hook.notify() does not
    # return whether delivery succeeded.
    taken = services.notify(title=title, body=body, notify_type=NotifyType.FAILURE, body_format=NotifyFormat.TEXT)
    if not (taken and all(known)):
        log.error("the alert %r was not taken by every service of the connection %s", title, CONNECTION)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def _message(context: Mapping[str, Any]) -> tuple[str, str]:
    from airflow.configuration import conf

    dag = context["dag"]
    url = conf.get("api", "base_url", fallback="") or "http://localhost:8080"
    return compose(
        dag.dag_id,
        context["run_id"],
        as_of=_as_of(context),
        failed=_failed_if_known(context),
        runbook=dag.doc_md or "",
        airflow_url=url,
    )


def _as_of(context: Mapping[str, Any]) -> str | None:
    """Return the AS_OF of the run, None for a DAG without that parameter."""
    run, params = context.get("dag_run"), context.get("params", {})
    if run is None or "as_of" not in params:
        return None
    try:
        # A date after today is reported too: the run failed because of it, or withdraws it.
        return resolve_as_of(params["as_of"], run.partition_key, run.logical_date, today=date.max).isoformat()
    except AsOfError:
        return None


def _the_one_before_failed(context: Mapping[str, Any]) -> bool:
    try:
        before = context["ti"].get_previous_dagrun() if "ti" in context else None
    except Exception as error:  # a duplicate alert is better than none
        log.error("the run before %s is not known: %s", context["run_id"], type(error).__name__)
        return False
    return before is not None and before.state == "failed"


def _failed_if_known(context: Mapping[str, Any]) -> dict[str, str | None] | None:
    """Return _failed(), or None if Airflow's API fails: the alert is sent without the errors then."""
    try:
        return _failed(context)
    except Exception as error:
        log.error("the failed tasks of %s are unknown: %s", context["run_id"], type(error).__name__)
        return None


def _failed(context: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the error of each failed task by name."""
    ti = context.get("ti")
    if ti is None:
        return {}
    tasks, failed = context["dag"].task_ids, {}
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    for name in sorted(name for name, state in states.items() if state == "failed"):
        # Airflow names a mapped task start_chain_2.
        task, _, index = (name, "", "") if name in tasks else name.rpartition("_")
        error = ti.xcom_pull(task_ids=task, key=ERROR, map_indexes=int(index) if index else -1)
        failed[f"{task}[{index}]" if index else task] = error
    return failed
