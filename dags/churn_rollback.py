"""Rolls stage Production back to an earlier version and pins it, or releases the pin."""

from airflow.sdk import Param, dag, get_current_context, task

from alerts import alert
from run import DEFAULT_ARGS, database_url, no_retry, triggered_by, why_param


@dag(
    schedule=None,
    max_active_runs=1,
    params={
        "action": Param(
            "rollback",
            type="string",
            enum=["rollback", "release"],
            title="Action",
            description="rollback: put an earlier version into Production and pin it there. release: remove the pin.",
        ),
        "version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Version",
            description="The version to roll back to. Left empty: the previous one in Production.",
        ),
        "why": why_param("The reason for the move, recorded in gate.moves and with the pin."),
    },
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_rollback():
    """
    Puts an earlier version back into stage Production and pins it until it is released.

    **To roll back**: Trigger and give the reason. Serving follows within seconds. The default is the previous
    Production version in gate.moves; versions that no longer load are skipped.

    **While Production is pinned** the gate decides but does not promote: PROMOTE is a recommendation in its report. The
    pin, with user and reason, is the tag gate.pin of the registered model in MLflow.

    **To resume promotions**: Trigger with action release. The next AS_OF is promoted as usual; run the newest one again
    if the pin blocked its candidate. The gate never promotes the version that you rolled back from.

    **The run is red**: the version does not exist or cannot be served, and Production did not move. Or MLflow or
    Postgres was unavailable: clear the task. The same from the command line: `make rollback`, `make release`.
    """

    @task(multiple_outputs=False, pool="churn_gate")
    def move() -> dict:
        """Moves Production or removes the pin, and records user and reason. UNCHANGED if that was done before."""
        from churn.gate.moves import PinUnreadable
        from churn.gate.rollback import RollbackRefused, release, rollback

        params, who = get_current_context()["params"], triggered_by()
        with no_retry(RollbackRefused, PinUnreadable):
            if params["action"] == "release":
                return release(who, params["why"], database_url()).to_json()
            return rollback(params["version"], who, params["why"], database_url()).to_json()

    move()


churn_rollback()
