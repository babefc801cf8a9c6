"""Helpers for tasks: default arguments, parameter checks, the run's AS_OF and the database URL."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from difflib import get_close_matches
from typing import Any

from airflow.sdk import Param, get_current_context
from airflow.sdk.exceptions import AirflowFailException

from alerts import keep_error
from churn.as_of import AsOfError, resolve_as_of, today
from churn.reason import MAX_WHY
from churn.settings import SPARK, SettingError, offline

CONNECTION = "churn_postgres"

AS_OF_PARAM = Param(
    None,
    type=["null", "string"],
    format="date",
    title="AS_OF",
    description=(
        "The date of the drop: the state of the business at the end of that day (UTC). "
        "Left empty, a scheduled run uses the day before it starts, a backfill run its own date."
    ),
)


def why_param(description: str) -> Param:
    """Return the required parameter for the reason of a run."""
    return Param(type="string", minLength=1, maxLength=MAX_WHY, title="Why", description=description)


class UnknownParameter(ValueError):
    """A run has a parameter that its DAG does not declare; Airflow itself ignores it."""


def refuse_unknown_parameters(context: Mapping[str, Any]) -> None:
    """Fail a task without a retry if its run has parameters that the DAG does not declare."""
    dag, run = context["dag"], context["dag_run"]
    with no_retry(UnknownParameter):
        if reason := why_unknown(run.conf or {}, dag.params):
            raise UnknownParameter(f"{reason}: trigger {dag.dag_id} again without it")


def why_unknown(given: Iterable[str], known: Iterable[str]) -> str | None:
    """Return a text that names unknown parameters and the known ones, None if all are known."""
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
    # On every task, because any task can be the first of a run.
    "pre_execute": refuse_unknown_parameters,
}
"""Retries are for servers that are briefly unavailable; permanent errors are raised through no_retry()."""

JOINS_BY_SPARK = offline() == SPARK
"""Training sets and scores are joined by Spark."""

JOINS = {"queue": "spark"} if JOINS_BY_SPARK else {}
HEAVY_JOINS = {"queue": "training"} | JOINS
"""The queues of tasks that join features; heavy ones train, or score every customer."""

MATERIALIZE_FIRST, TRAIN_FIRST, SCORE_FIRST, OUTCOME_FIRST = 10, 100, 1000, 10_000
"""Priority weights of the later DAGs: an AS_OF under way finishes before the next one starts."""


def current_as_of() -> date:
    """Return the AS_OF of the running task's run, or fail the task without a retry."""
    context = get_current_context()
    run = context["dag_run"]
    with no_retry(AsOfError):
        return resolve_as_of(context["params"].get("as_of"), run.partition_key, run.logical_date, today=today())


def triggered_by() -> str:
    """Return the name of the user who started the running task's run, as Airflow knows it."""
    return get_current_context()["dag_run"].triggering_user_name or "unknown: started in Airflow"


def is_retry() -> bool:
    """Tell whether the running task failed or was killed before in this run."""
    return get_current_context()["ti"].try_number > 1


def database_url() -> str:
    """Return the libpq URI of the Airflow connection `churn_postgres`."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    from churn.postgres.database_url import url_of

    return url_of(PostgresHook(CONNECTION).connection)


@contextmanager
def no_retry(*errors: type[Exception]) -> Iterator[None]:
    """Fail the task without a retry on these errors, and on a wrong setting: only a person can fix them."""
    try:
        yield
    except (SettingError, *errors) as error:
        raise AirflowFailException(str(error)) from error
