"""Takes a drop back, as if it had never come."""

from airflow.sdk import Param, dag, get_current_context, task

from alerts import alert
from run import DEFAULT_ARGS, MATERIALIZE_FIRST, database_url, no_retry, triggered_by


@dag(
    schedule=None,
    max_active_runs=1,
    params={
        "as_of": Param(
            type="string",
            format="date",
            title="AS_OF",
            description="The date whose drop to take back, with all of its revisions. It may be after today.",
        ),
        "why": Param(
            type="string",
            minLength=1,
            maxLength=1000,
            title="Why",
            description="The reason, for whoever looks at it later. It is kept in raw.withdrawals.",
        ),
    },
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_withdraw():
    """
    Takes the drop of an AS_OF back. The system then holds what it would hold had the drop never come: its rows,
    snapshots and labels are deleted, the newest AS_OF that is left is served, and model versions that were trained
    with it are tagged `superseded`.

    **To withdraw a drop**: Trigger, pick the AS_OF, say why. Then remove its directory from the landing directory.
    Clearing its tasks is safe: each does only what is missing, and a drop that was loaded since stays. The same from
    the command line: `make withdraw`.

    **Production is not moved.** The result of `supersede` says where the version in Production was trained with the
    drop, and what to do: roll back, or run the newest AS_OF that is left.

    **To load a drop of that date later**: put the corrected drop into the landing directory. The content that was
    withdrawn is not loaded again, until a file `_ACCEPT` beside it, written after the withdrawal, says why.

    **What stays**: the archived files, the revisions in `raw.revisions`, marked, and decisions, which are history.

    **`withdraw` is red**: Postgres was away, and nothing was removed. Clear the task.

    **`serve` is red**: Postgres or Redis was away. The withdrawn features are still served. Clear the task; the next
    run of `churn_materialize` mends it too.

    **`supersede` is red**: MLflow or Postgres was away. Clear the task.
    """

    @task(multiple_outputs=False)
    def withdraw() -> dict:
        """Deletes the drop's rows and snapshots in one transaction, and records who withdrew it and why. Nothing is
        loaded: UNCHANGED."""
        from churn.as_of import AsOfError
        from churn.drops.withdrawal import WithdrawalRefused, withdraw

        with no_retry(AsOfError, WithdrawalRefused):
            context = get_current_context()
            why, asked_at = context["params"]["why"], context["dag_run"].run_after
            return withdraw(_as_of(), triggered_by(), why, database_url(), asked_at).to_json()

    @task(multiple_outputs=False, pool="churn_materialize", priority_weight=MATERIALIZE_FIRST)
    def serve() -> dict:
        """Serves the newest AS_OF that is left, where the withdrawn one is served. Else: UNCHANGED."""
        from churn.features.materialization import serve_what_is_left

        return serve_what_is_left(database_url()).to_json()

    @task(multiple_outputs=False)
    def supersede() -> dict:
        """Tags model versions `superseded` that were trained with the drop; says what to do where Production was."""
        from churn.training.superseded import supersede_withdrawn

        return supersede_withdrawn(_as_of(), database_url()).to_json()

    withdraw() >> serve() >> supersede()


def _as_of():
    """Any date: current_as_of() refuses one after today."""
    from churn.as_of import parse_as_of

    return parse_as_of(get_current_context()["params"]["as_of"])


churn_withdraw()
