"""snapshots → Feast's online store, served for all feature views at once."""

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task

from alerts import alert
from assets import churn_online_features, churn_snapshots
from run import AS_OF_PARAM, DEFAULT_ARGS, MATERIALIZE_FIRST, current_as_of, database_url, no_retry


@dag(
    schedule=PartitionedAssetTimetable(assets=churn_snapshots),
    params={"as_of": AS_OF_PARAM},
    default_args=DEFAULT_ARGS | {"priority_weight": MATERIALIZE_FIRST},
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_materialize():
    """
    Serves the snapshots of an AS_OF online, through Feast. Its asset `churn_online_features` starts `churn_train`.

    One AS_OF is served, the newest: an older one changes nothing (outcome OLDER), and a corrected drop of the served
    one replaces it. Until `materialize` has published, the features that were served before are served, whole.

    **`apply` is red**: the definitions in include/feature_repo/ do not fit the database or each other; its log says
    which.

    **`materialize` is red**: the database was away, or is full; or Redis, where that is the online store. What was
    served is still served. Clear the task to run it again. "There is no snapshot": run `churn_snapshot` for this AS_OF.
    """

    @task(multiple_outputs=False)
    def apply() -> dict:
        """Registers the feature definitions with Feast when the code changed."""
        from churn.features.column_types import UnsupportedView
        from churn.features.store import apply_definitions

        with no_retry(UnsupportedView):
            return apply_definitions(database_url()).to_json()

    @task(multiple_outputs=False, pool="churn_materialize", outlets=[churn_online_features])
    def materialize() -> dict:
        """Writes the AS_OF beside what is served, then publishes it: all feature views change over at
        once."""
        from churn.features.materialization import NoSnapshot, materialize

        as_of = current_as_of()
        with no_retry(NoSnapshot):
            outcome = materialize(as_of, database_url())
        get_current_context()["outlet_events"][churn_online_features].add_partitions(as_of.isoformat())
        return outcome.to_json()

    apply() >> materialize()


churn_materialize()
