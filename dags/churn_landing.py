"""Looks for drops that are complete and not loaded, and starts the chain for each."""

import logging
from datetime import datetime

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import dag, get_current_context, task

from alerts import alert_when_it_begins
from run import DEFAULT_ARGS, database_url, no_retry

CHAIN = "churn_snapshot"

AT_ONCE = 200
"""How many chains a look starts. Airflow refuses to map a task over more than core.max_map_length (1,024) entries, and
starts none then. 200 dates keep the chain busy until the next look."""

log = logging.getLogger(__name__)


@dag(
    schedule="*/5 * * * *",
    start_date=datetime(2024, 1, 1),  # noqa: DTZ001 — Airflow reads it as UTC
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert_when_it_begins,
    tags=["churn"],
)
def churn_landing():
    """
    Starts `churn_snapshot` for every complete drop in the landing directory that is not loaded, or whose content
    changed, the oldest first. So a late drop and a corrected one need no person. A look starts at most 200; the log of
    `find_drops` says how many more wait for the next one.

    A drop is complete when its five required files are there, and those that its `manifest.json` names. One with
    neither `manifest.json` nor `_SUCCESS` must also rest for 30 seconds: its files may still be on their way.

    **A drop is not picked up**: the log of `find_drops` says of each drop why. A rejected drop is tried again when its
    content, its `manifest.json` or its `_ACCEPT` changes, not before; to try it as it is, trigger `churn_snapshot`
    with its AS_OF. A held drop is also compared again when the nearest earlier drop changes: when one loads, is
    corrected or is withdrawn. A drop of a date after today is not loaded: rename its directory. Content that was
    withdrawn is not loaded again until an `_ACCEPT` is written that says why.

    **`find_drops` or `start_chain` is red**: Postgres or Airflow was away, or LANDING_DIR is not set; its log says
    which. The next look, five minutes later, does it all. Told is the first of several that fail.
    """

    @task
    def find_drops() -> list[dict]:
        """Compares the landing directory with what is loaded."""
        from churn.drops.landing_batch import start_first
        from churn.drops.watch import find_pending
        from churn.settings import SettingMissing, read_settings

        ti = get_current_context()["ti"]
        with no_retry(SettingMissing):
            pending = find_pending(read_settings().landing, database_url())
        drops, more = start_first(pending, AT_ONCE, lambda ids: ti.get_dr_count(CHAIN, run_ids=[*ids]))
        log.info("%d drops wait: %d are started now, %d wait for the next look", len(pending), len(drops), more)
        return [{"conf": {"as_of": drop.as_of.isoformat()}, "trigger_run_id": drop.run_id} for drop in drops]

    TriggerDagRunOperator.partial(
        task_id="start_chain",
        trigger_dag_id=CHAIN,
        skip_when_already_exists=True,
        # One after the other, so that they start oldest first.
        max_active_tis_per_dagrun=1,
        doc_md="Starts the chain for a drop. Skipped where this very content was started before.",
    ).expand_kwargs(find_drops())


churn_landing()
