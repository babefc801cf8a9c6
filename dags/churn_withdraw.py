"""Withdraws a drop: deletes its data as if it had never come."""

from airflow.sdk import Param, dag, get_current_context, task

from alerts import alert, alert_verdicts
from run import DEFAULT_ARGS, JOINS, MATERIALIZE_FIRST, database_url, no_retry, triggered_by, why_param


@dag(
    schedule=None,
    max_active_runs=1,
    params={
        "as_of": Param(
            type="string",
            format="date",
            title="AS_OF",
            description="The date whose drop to withdraw, with all of its revisions. It may be after today.",
        ),
        "why": why_param("The reason for the withdrawal, recorded in raw.withdrawals."),
    },
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_withdraw():
    """
    Withdraws the drop of an AS_OF: deletes its rows, snapshots, labels and actions, serves the newest remaining AS_OF,
    tags the model versions trained with the drop as `superseded`, takes the AS_OF out of the list (`scores.current`),
    and judges the dates that the drop had labelled by the labels that are left (`outcomes.current`).

    **To withdraw a drop**: Trigger, pick the AS_OF, give the reason. Then remove its directory from the landing
    directory. Tasks are idempotent: clear them at will. A drop loaded since is kept. The same from the command line:
    `make withdraw`.

    **Production does not move.** If the version in Production was trained with the drop, the result of `supersede` says
    what to do: roll back, or run the newest remaining AS_OF.

    **To load a drop of that date later**: put the corrected drop into the landing directory. Withdrawn content is
    loaded again only with a file `_ACCEPT` that gives the reason and is newer than the withdrawal.

    **What is kept**: archived files, the revisions in `raw.revisions`, marked as withdrawn, and decisions.
    Rows and files of the list are kept too: `scores.runs` and each `manifest.json` say that it was withdrawn.
    So are the judgements of the AS_OF and of its labels, outside `outcomes.current`.

    **`withdraw` is red**: Postgres was unavailable, and nothing was deleted. Clear the task.

    **`serve` is red**: Postgres or Redis was unavailable. The withdrawn features are still served. Clear the task, or
    wait for the next run of `churn_materialize`.

    **`supersede` is red**: MLflow or Postgres was unavailable. Clear the task.

    **`scores` is red**: Postgres or the storage of SCORES_URL was unavailable. The list of the AS_OF may still be in
    `scores.current`, or its manifests may not say yet that it was withdrawn. Clear the task.

    **`parquet` is red**: Postgres or the storage of SNAPSHOTS_URL was unavailable. The Parquet snapshot of the AS_OF
    may still be there; no training reads it. Clear the task.

    **`outcomes` is red**: Postgres or MLflow was unavailable. Figures may still rest on withdrawn labels. Clear the
    task.
    """

    @task(multiple_outputs=False)
    def withdraw() -> dict:
        """Deletes the drop's rows and snapshots in one transaction, and records user and reason. UNCHANGED if nothing
        is loaded."""
        from churn.as_of import AsOfError
        from churn.drops.withdrawal import WithdrawalRefused, withdraw

        with no_retry(AsOfError, WithdrawalRefused):
            context = get_current_context()
            why, asked_at = context["params"]["why"], context["dag_run"].run_after
            return withdraw(_as_of(), triggered_by(), why, database_url(), asked_at).to_json()

    @task(multiple_outputs=False, pool="churn_materialize", priority_weight=MATERIALIZE_FIRST)
    def serve() -> dict:
        """Serves the newest remaining AS_OF if the withdrawn one is served, else UNCHANGED."""
        from churn.features.materialization import serve_what_is_left

        return serve_what_is_left(database_url()).to_json()

    @task(multiple_outputs=False)
    def supersede() -> dict:
        """Tags the model versions trained with the drop as `superseded`; says what to do if Production is one."""
        from churn.training.superseded import supersede_withdrawn

        return supersede_withdrawn(_as_of(), database_url()).to_json()

    @task(multiple_outputs=False)
    def scores() -> dict:
        """Marks the list of the AS_OF as withdrawn, in the table and in its manifests. Waits for a run of churn_score
        of the AS_OF."""
        from churn.scores.withdrawal import withdraw_scores
        from churn.settings import read_score_settings

        with no_retry():
            return withdraw_scores(_as_of(), database_url(), read_score_settings().location).to_json()

    @task(multiple_outputs=False)
    def parquet() -> dict:
        """Deletes the Parquet snapshot of the AS_OF, where there is one (CHURN_OFFLINE=spark)."""
        from churn.settings import snapshots_url
        from churn.spark.removal import remove_gone

        return remove_gone(database_url(), snapshots_url()).to_json()

    @task(multiple_outputs=False, pool="churn_scoring", **JOINS)
    def outcomes() -> dict:
        """Marks the judgements of the AS_OF and of its labels as withdrawn, and judges the dates that it had labelled
        by the labels that are left."""
        from churn.outcomes.judgement_step import judge_again

        outcome = judge_again(_as_of(), database_url())
        alert_verdicts(database_url())
        return outcome.to_json()

    done = withdraw()
    done >> serve() >> supersede()
    # Beside them: a Redis that is away does not leave the list in place. A withdrawn list is judged no more.
    done >> scores() >> outcomes()
    done >> parquet()


def _as_of():
    """Any date: current_as_of() refuses one after today."""
    from churn.as_of import parse_as_of

    return parse_as_of(get_current_context()["params"]["as_of"])


churn_withdraw()
