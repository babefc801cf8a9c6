"""snapshot + Production → the list: a score for every customer, as table and files."""

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from alerts import alert
from assets import churn_scores, churn_trainings
from run import AS_OF_PARAM, DEFAULT_ARGS, HEAVY_JOINS, SCORE_FIRST, current_as_of, database_url, no_retry


@dag(
    schedule=PartitionedAssetTimetable(assets=churn_trainings),
    params={"as_of": AS_OF_PARAM},
    default_args=DEFAULT_ARGS | {"priority_weight": SCORE_FIRST},
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_score():
    """
    Scores every customer of an AS_OF: rows of `scores.customers` (view `scores.current`) and files under SCORES_URL.
    The page "At risk" and `make scores` show them. Its asset is `churn_scores`.

    It runs when `churn_train` of the AS_OF has ended in any way. While an approval waits, the present Production
    scores; after an approval the new one does, as the next revision.

    **Which version scores**: the one in Production, unless it learned from a later date. Then, in a backfill, the
    newest promoted version of an AS_OF that is not later.

    **Outcomes**: DONE is a new revision; earlier ones are kept. UNCHANGED: the same snapshot, version, threshold, code
    and control share; missing files are published again.

    **`score` skipped**: there is no snapshot, or no version may score this AS_OF; the log says which.

    **`score` is red**: Postgres, MLflow or the storage of SCORES_URL was unavailable, or the snapshot changed
    meanwhile. Nothing half-written is visible. Clear the task. If the version cannot be loaded, or its scores are
    not probabilities, the log gives the reason: see `make doctor`, and `make trust` or `make rollback`.
    """

    @task(multiple_outputs=False, pool="churn_scoring", outlets=[churn_scores], **HEAVY_JOINS)
    def score() -> dict:
        """Scores the snapshot and writes the next revision of the list: rows and files."""
        from churn.registry.model_version import ModelNotLoadable
        from churn.registry.version_scorer import VersionRefused
        from churn.scores.ranking import NotProbabilities
        from churn.scores.scoring_step import NothingToScore, score_customers
        from churn.settings import read_score_settings

        as_of = current_as_of()
        try:
            with no_retry(VersionRefused, ModelNotLoadable, NotProbabilities):
                to = read_score_settings()
                outcome = score_customers(as_of, database_url(), to.location, to.control_share)
        except NothingToScore as error:
            raise AirflowSkipException(f"nothing to score: {error}") from error
        get_current_context()["outlet_events"][churn_scores].add_partitions(as_of.isoformat())
        return outcome.to_json()

    score()


churn_score()
