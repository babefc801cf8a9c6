"""snapshots → Feast's online store, published for all feature views at once."""

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

    Only the newest AS_OF is served. An older one changes nothing (outcome OLDER), except that a served one of other
    code is written again. A corrected drop of the served AS_OF replaces it. `materialize` swaps all feature views
    atomically; until then the previous features are served.

    **`apply` is red**: the definitions in include/feature_repo/ do not match the database or each other; the log says
    which.

    **`materialize` is red**: Postgres, or Redis if it is the online store, was unavailable or is full. The previous
    features are still served. Clear the task. "There is no snapshot": run `churn_snapshot` for this AS_OF.
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
        """Writes the AS_OF beside the served one, then switches all feature views at once."""
        from churn.features.materialization import NoSnapshot, materialize

        as_of = current_as_of()
        with no_retry(NoSnapshot):
            outcome = materialize(as_of, database_url())
        get_current_context()["outlet_events"][churn_online_features].add_partitions(as_of.isoformat())
        return outcome.to_json()

    apply() >> materialize()


churn_materialize()
