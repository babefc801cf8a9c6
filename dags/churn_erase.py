"""Erases customers: removes them from every place, and keeps a keyed hash of each."""

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from alerts import alert
from approval import ErasureApprovalTask, approval_is_required
from erasure_places import archive, landing, lists, logs, models, parquet, refusals, rows, sweep
from run import DEFAULT_ARGS, database_url, triggered_by, why_param

TRAINING = "churn_train"


@dag(
    schedule=None,
    max_active_runs=1,
    params={
        "request": Param(
            type="string",
            pattern="^[0-9a-f]{32}$",
            title="Request",
            description=(
                "The name of the file of ids in CHURN_ERASURE_DIR, which make erase writes. No user_id goes here."
            ),
        ),
        "why": why_param("The reason for the erasure, recorded in erasure.requests. It must not name the customers."),
        "approval": Param(
            approval_is_required(),
            type="boolean",
            title="Ask a second person",
            description=(
                "Another user than the one who triggers the run approves it under Required Actions before anything is "
                "removed. With CHURN_ERASE_APPROVAL=true in Airflow's environment every run asks, whatever is set here."
            ),
        ),
    },
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_erase():
    """
    Erases customers: removes them from the landing directory, archive, `raw`, snapshots, online features, lists,
    outcomes, prediction log, MLflow and logs. A keyed hash of each stays in `erasure.tombstones`, so that no drop and
    no restored backup brings them back. Docs: `docs/erasure.md`.

    **To erase customers**: `make erase`, which writes the file of ids, triggers this DAG and prints the report. Ids are
    in no parameter, XCom or log: tasks read the file, and `end` deletes it. Tasks are idempotent: a run that was
    interrupted continues when the failed task is cleared.

    **The order**: `archive` and `rows` come first. From then on `/predict` answers unknown-user, and a training or a
    scoring that begins reads data without the customers, so `lists`, `models` and `logs` come after: nothing can write
    the customers there again. An MLflow that is away does not keep them in Postgres. Places run one at a time, since
    each waits until no step writes rows of customers.

    **`approve` waits**: another user answers under Required Actions. Reject ends the request with the result
    `refused`, and the remaining tasks are skipped.

    **`approve` is red**: nobody answered within three days, or the one who asked also approved. Nothing was removed.
    Clear the task, and have another user answer.

    **`open` or `bury` is red**: nothing was removed. Postgres was unavailable: clear the task. If the log says that
    there is no file of ids, it is on another machine, or the request has ended: start another one with `make erase`.
    If it says that the key is missing, put the file `key` back into CHURN_ERASURE_DIR and clear the task.

    **`landing` is red**: the log names dates whose drops this user may not write. Remove the customers' lines from them
    yourself, or delete these drops from the landing directory, and clear the task. The other places go on.

    **`archive`, `rows`, `lists`, `parquet` or `logs` is red**: Postgres, Redis, the archive, the storage of SCORES_URL
    or SNAPSHOTS_URL, or a directory of logs was unavailable. What was removed stays removed. Clear the task.

    **`models` is red**: MLflow or its artifacts were unavailable. Clear the task.

    **`sweep` is red**: Postgres was unavailable, or the disk has no room for a copy of a table. Rows are removed, and
    their remains may still be in Postgres' files. Clear the task.

    **`supersede` or `end` is red**: MLflow or Postgres was unavailable. Customers are removed everywhere; the file of
    ids is still there. Clear the task.

    **`find_training` or `start_training` is red**: Airflow or Postgres was unavailable. The erasure has ended. Clear
    the task, or trigger `churn_train` with the newest AS_OF.

    **`start_training` skipped**: no version was trained on these customers.

    **Production does not move by itself.** If the version in Production was trained on them, the result of `end` says
    by when it must be replaced. The training that this run starts makes a candidate without them, and the gate decides.
    """

    @task(multiple_outputs=False, task_id="open")
    def put_on_record() -> dict:
        """Records user, reason and number of customers in erasure.requests. UNCHANGED if the request is on record."""
        from churn.erasure.request import open_request

        params = get_current_context()["params"]
        with refusals():
            return open_request(params["request"], triggered_by(), params["why"], database_url()).to_json()

    @task(multiple_outputs=False)
    def bury(answer: dict | None) -> dict:
        """Writes the tombstones: from now on drops are loaded without the customers. Where a person refused, ends the
        request and skips."""
        from churn.erasure.request import REFUSED, bury, end

        request = get_current_context()["params"]["request"]
        with refusals():
            if answer and not answer["approved"]:
                end(request, REFUSED, database_url())
                raise AirflowSkipException(f"{answer['who']} refused the request: nothing is removed")
            return bury(request, database_url(), answer["who"] if answer else None).to_json()

    @task(multiple_outputs=False)
    def supersede() -> dict:
        """Tags model versions `superseded` whose drops the erasure changed; the tag says which date to run again."""
        from churn.training.superseded import mark_superseded

        return mark_superseded(database_url()).to_json()

    @task(multiple_outputs=False)
    def end() -> dict:
        """Records the end and deletes the file of ids. Says by when a version in Production that was trained on erased
        customers must be replaced."""
        from churn.erasure.replacement import find_replacement
        from churn.erasure.request import ERASED, end

        with refusals():
            found = find_replacement(database_url())
            ended = end(get_current_context()["params"]["request"], ERASED, database_url())
        return ended.to_json() | ({"production": str(found)} if found else {})

    @task
    def find_training() -> list[dict]:
        """Finds the newest loaded AS_OF, whose training replaces the affected versions. Skips if there is none."""
        from churn.erasure.replacement import next_training

        request = get_current_context()["params"]["request"]
        as_of, versions = next_training(request, database_url())
        if not versions:
            raise AirflowSkipException("no version was trained on these customers")
        if as_of is None:
            raise AirflowSkipException("no drop is loaded, so nothing can be trained")
        return [{"conf": {"as_of": as_of.isoformat()}, "trigger_run_id": f"erase__{request}"}]

    asked = ErasureApprovalTask(
        task_id="approve",
        opened=put_on_record(),
        doc_md="Asks a second person to approve the erasure if the environment or the parameter says so.",
    )
    archived, landed, after_rows, ended = archive(), landing(), [lists(), parquet(), models(), logs()], end()
    # The new files are known before they lie in the landing directory, so churn_landing starts no chain.
    bury(asked.output) >> archived >> landed
    # A training that began between `models` and `rows` would write customers into MLflow again.
    archived >> rows() >> after_rows
    [landed, *after_rows] >> sweep() >> supersede() >> ended
    training = find_training()
    ended >> training
    TriggerDagRunOperator.partial(
        task_id="start_training",
        trigger_dag_id=TRAINING,
        skip_when_already_exists=True,
        doc_md="Starts churn_train for the newest AS_OF. Skipped if no version is affected, or the request started it.",
    ).expand_kwargs(training)


churn_erase()
