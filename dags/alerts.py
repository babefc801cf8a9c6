"""Alerts: a run that turned red is told to whom the Airflow connection `churn_alerts` names: mail, Slack, a webhook.

The scheduler asks for the callback of a DAG whenever a run of it fails, whatever the cause, and the DAG processor calls
it. The callback of a task is called by the task's own process, and by nobody where that was killed, as for want of
memory, while its supervisor lives (Airflow 3.3, #60858). So what is told is the run, once; a task that fails only
leaves its error for that, in one line.

Without the connection nothing is sent, and an alert that cannot be sent turns nothing red: the log of the DAG processor
says either. What is sent holds no secret that Airflow knows of.
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
"""Of type Apprise: its field config is {"path": "<URL of the service>"}, or a list of such."""

ERROR = "error"
"""The XCom in which a task that failed leaves its error."""

LONGEST = 600
"""Characters of an error: a telephone shows as many."""

KILLED = "it left no error: it was killed, as for want of memory, or never began; its log may say more"

UNKNOWN = "What failed could not be gathered: Airflow's API or its database did not answer. The run's page may tell."


def keep_error(context: Mapping[str, Any]) -> None:
    """on_failure_callback of every task: keep its error in one line for the alert about its run."""
    # There is none where the DAG processor calls for a task that is gone.
    if error := context.get("exception"):
        context["ti"].xcom_push(key=ERROR, value=one_line(error))


def alert(context: Mapping[str, Any]) -> None:
    """on_failure_callback of every DAG: tell what failed, why, what to do, and where to look."""
    try:
        send(*_message(context))
    except Exception as error:  # the run is red already, and this is how somebody gets to know
        # Neither the error's text nor its traceback: what a URL was made of may be in it.
        log.error("no alert about %s: %s; see docs/operations.md", context.get("run_id"), type(error).__name__)


def alert_when_it_begins(context: Mapping[str, Any]) -> None:
    """The same for a DAG that runs every few minutes: told is a run that fails after one that did not."""
    if _the_one_before_failed(context):
        log.info("no alert about %s: the run before it failed too, and that was told", context["run_id"])
        return
    alert(context)


def one_line(error: BaseException) -> str:
    """Return an error's kind and text as one line of at most LONGEST characters, without secrets."""
    from airflow.sdk.exceptions import AirflowFailException
    from airflow.sdk.log import redact

    if isinstance(error, AirflowFailException) and error.__cause__:
        # What no_retry() makes of an error that a retry cannot help.
        error = error.__cause__
    text = " ".join(f"{type(error).__name__}: {redact(str(error))}".split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def compose(
    dag_id: str,
    run_id: str,
    *,
    as_of: str | None,
    failed: Mapping[str, str | None] | None,
    runbook: str,
    airflow_url: str,
) -> tuple[str, str]:
    """Return title and text of the alert.

    Args:
        failed: the error of each task that failed, None where it left none; one of many is called `start_chain[2]`.
            None where Airflow could not be asked.
        runbook: the doc_md of the DAG.
        airflow_url: where a person opens Airflow.
    """
    title = f"{dag_id} failed" + (f" for AS_OF {as_of}" if as_of else "")
    page = f"{airflow_url.rstrip('/')}/dags/{dag_id}"
    lines = [UNKNOWN] if failed is None else [f"{task}: {error or KILLED}" for task, error in failed.items()]
    tasks = {name.partition("[")[0] for name in failed or ()}
    lines += [f"What to do: {advice}" for advice in advice_for(tasks, runbook)]
    lines += [f"Run: {page}/runs/{quote(run_id, safe='')}", f"Runbook: {page} (Dag Docs)"]
    return title, "\n".join(lines)


def advice_for(tasks: set[str], runbook: str) -> list[str]:
    """Return the paragraphs of a runbook that say what to do where one of these tasks is red.

    Such a paragraph begins with a bold heading that says "red", and names the tasks that it is about, or none where it
    is about all.
    """
    found = []
    for paragraph in runbook.split("\n\n"):
        text = " ".join(paragraph.split())
        heading = text[2:].partition("**")[0] if text.startswith("**") else ""
        named = set(heading.split("`")[1::2])
        if " red" in heading and (not named or named & tasks):
            found.append(text.replace("**", ""))
    return found


def send(title: str, body: str) -> None:
    """Send a message to every service that the connection names; the log says where that was not possible."""
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
        # It writes a URL that it does not know into the log, as it is.
        known = [services.add(url) for url in urls]
    # As text: an error may quote a drop, of which no value may become a link or a mention. Not by hook.notify(), which
    # does not tell whether it was taken.
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
    """A DAG that works on an AS_OF has the parameter; whatever else its run may say."""
    run, params = context.get("dag_run"), context.get("params", {})
    if run is None or "as_of" not in params:
        return None
    try:
        # A date after today is told too: the run failed for it, or withdraws it.
        return resolve_as_of(params["as_of"], run.partition_key, run.logical_date, today=date.max).isoformat()
    except AsOfError:
        return None


def _the_one_before_failed(context: Mapping[str, Any]) -> bool:
    try:
        before = context["ti"].get_previous_dagrun() if "ti" in context else None
    except Exception as error:  # told once too often is better than not at all
        log.error("the run before %s is not known: %s", context["run_id"], type(error).__name__)
        return False
    return before is not None and before.state == "failed"


def _failed_if_known(context: Mapping[str, Any]) -> dict[str, str | None] | None:
    """What _failed() returns; None where Airflow cannot be asked: runs fail when it is ill, and that must be told."""
    try:
        return _failed(context)
    except Exception as error:  # whatever it is, the rest of the alert needs none of it
        log.error("what failed in %s could not be gathered: %s", context["run_id"], type(error).__name__)
        return None


def _failed(context: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the error of each task that failed, by its name."""
    ti = context.get("ti")
    if ti is None:
        return {}
    tasks, failed = context["dag"].task_ids, {}
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    for name in sorted(name for name, state in states.items() if state == "failed"):
        # Airflow calls a mapped one start_chain_2.
        task, _, index = (name, "", "") if name in tasks else name.rpartition("_")
        error = ti.xcom_pull(task_ids=task, key=ERROR, map_indexes=int(index) if index else -1)
        failed[f"{task}[{index}]" if index else task] = error
    return failed
