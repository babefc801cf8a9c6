"""What every task needs to know of its run: that its parameters are known, which AS_OF it works on, and where the
database is."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from difflib import get_close_matches
from typing import Any

from airflow.sdk import Param, get_current_context
from airflow.sdk.exceptions import AirflowFailException

from alerts import keep_error
from churn.as_of import AsOfError, resolve_as_of, today

CONNECTION = "churn_postgres"

AS_OF_PARAM = Param(
    None,
    type=["null", "string"],
    format="date",
    title="AS_OF",
    description=(
        "The date whose drop to work on: the state of the business at the end of that day (UTC). "
        "Left empty, a scheduled run takes the day before it starts, and a run of a backfill its own date."
    ),
)


class UnknownParameter(ValueError):
    """A run was given a parameter that its DAG does not have. Airflow ignores it."""


def refuse_unknown_parameters(context: Mapping[str, Any]) -> None:
    """Fail a task for good where its run was given parameters that the DAG does not have."""
    dag, run = context["dag"], context["dag_run"]
    with no_retry(UnknownParameter):
        if reason := why_unknown(run.conf or {}, dag.params):
            raise UnknownParameter(f"{reason}: trigger {dag.dag_id} again without it")


def why_unknown(given: Iterable[str], known: Iterable[str]) -> str | None:
    """Return which of the given parameters nobody knows and which there are, None where all are known."""
    there = sorted(known)
    unknown = sorted(set(given).difference(there))
    if not unknown:
        return None
    hints = {name: get_close_matches(name, there, 1) for name in unknown}
    named = ", ".join(f"{name!r}" + (f" (did you mean {hint[0]!r}?)" if hint else "") for name, hint in hints.items())
    return f"unknown parameter {named}; there is {', '.join(there) or 'none'}"


DEFAULT_ARGS = {
    "owner": "data team",
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
    "execution_timeout": timedelta(hours=2),
    "on_failure_callback": keep_error,
    # Of every task: the first one of a run, whichever it is, comes before everything else.
    "pre_execute": refuse_unknown_parameters,
}
"""A retry helps where a server is away for a moment; what it cannot help is raised through no_retry()."""

MATERIALIZE_FIRST, TRAIN_FIRST = 10, 100
"""Priorities of the tasks of the later DAGs: an AS_OF that is under way is finished before another one is begun."""


def current_as_of() -> date:
    """Return the AS_OF of the running task's run, or fail the task for good."""
    context = get_current_context()
    run = context["dag_run"]
    with no_retry(AsOfError):
        return resolve_as_of(context["params"].get("as_of"), run.partition_key, run.logical_date, today=today())


def triggered_by() -> str:
    """Return the name of the user who started the running task's run, as Airflow knows it."""
    return get_current_context()["dag_run"].triggering_user_name or "unknown: started in Airflow"


def database_url() -> str:
    """Return the libpq URI of the Airflow connection `churn_postgres`, the one authority on where the database is."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    from churn.postgres.database_url import url_of

    return url_of(PostgresHook(CONNECTION).connection)


@contextmanager
def no_retry(*errors: type[Exception]) -> Iterator[None]:
    """Fail the task at once, without a retry, on errors that only a person can mend."""
    try:
        yield
    except errors as error:
        raise AirflowFailException(str(error)) from error
