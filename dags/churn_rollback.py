"""Back to an earlier version in stage Production, and on from there."""

from airflow.sdk import Param, dag, get_current_context, task

from alerts import alert
from run import DEFAULT_ARGS, database_url, no_retry, triggered_by


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
            description="The version to go back to. Left empty: the one that was in Production before the present one.",
        ),
        "why": Param(
            type="string",
            minLength=1,
            maxLength=1000,
            title="Why",
            description="The reason, for whoever looks at it later. It is kept in gate.moves and with the pin.",
        ),
    },
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_rollback():
    """
    Puts an earlier version back into stage Production, and pins it there until it is released.

    **To go back**: Trigger, say why. Serving follows within seconds. Without a version it is the one before the
    present one, by the history gate.moves; one that cannot be loaded any more is passed over.

    **While Production is pinned** the gate goes on deciding, and promotes nothing: PROMOTE becomes a recommendation in
    its report. The pin, with who and why, is the tag gate.pin of the registered model in MLflow.

    **To let the gate go on**: Trigger with action release. The next AS_OF is promoted as usual; run the newest one
    again if its candidate was held up. What you rolled back from is never brought back by itself.

    **The run is red**: the version does not exist or cannot be served; nothing was moved. Or MLflow or the database was
    away: clear the task, it finishes what is missing. The same from the command line: `make rollback`, `make release`.
    """

    @task(multiple_outputs=False, pool="churn_gate")
    def move() -> dict:
        """Moves Production, or releases it, and puts who and why on record. Done before: UNCHANGED."""
        from churn.gate.moves import PinUnreadable
        from churn.gate.rollback import RollbackRefused, release, rollback

        params, who = get_current_context()["params"], triggered_by()
        with no_retry(RollbackRefused, PinUnreadable):
            if params["action"] == "release":
                return release(who, params["why"], database_url()).to_json()
            return rollback(params["version"], who, params["why"], database_url()).to_json()

    move()


churn_rollback()
