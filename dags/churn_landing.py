"""Polls the landing directory and starts the chain for each complete drop that is not loaded."""

import logging
from datetime import datetime

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import dag, get_current_context, task

from alerts import alert_when_it_begins
from run import DEFAULT_ARGS, database_url, no_retry

CHAIN = "churn_snapshot"

AT_ONCE = 200
"""Chains that one run starts: enough work until the next run, and below core.max_map_length (1,024), above which
Airflow fails the mapped task."""

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
    Starts `churn_snapshot` for every complete drop in the landing directory that is new or changed, oldest first. Late
    and corrected drops are picked up automatically. A run starts at most 200 chains; the log of `find_drops` says how
    many drops wait for the next run.

    A drop is complete when its five required files and all files in its `manifest.json` are there. Without
    `manifest.json` and `_SUCCESS`, its files must also be unchanged for 30 seconds, in case an upload is under way.

    **A drop is not picked up**: the log of `find_drops` gives the reason for each drop. A rejected drop is retried only
    when its content, its `manifest.json` or its `_ACCEPT` changes; to force a retry, trigger `churn_snapshot` with its
    AS_OF. A held drop is also compared again when the nearest earlier drop is loaded, corrected or withdrawn. A drop
    dated after today is not loaded: rename its directory. Withdrawn content is loaded again only after a new `_ACCEPT`
    gives the reason.

    **`find_drops` or `start_chain` is red**: Postgres or Airflow was unavailable, or LANDING_DIR is not set; the log
    says which. The next run, five minutes later, catches up. Of consecutive failures only the first is alerted.
    """

    @task
    def find_drops() -> list[dict]:
        """Compares the landing directory with the loaded drops."""
        from churn.drops.landing_batch import start_first
        from churn.drops.watch import find_pending
        from churn.settings import SettingMissing, read_settings

        ti = get_current_context()["ti"]
        with no_retry(SettingMissing):
            pending = find_pending(read_settings().landing, database_url())
        drops, more = start_first(pending, AT_ONCE, lambda ids: ti.get_dr_count(CHAIN, run_ids=[*ids]))
        log.info("%d drops pending: %d started now, %d wait for the next run", len(pending), len(drops), more)
        return [{"conf": {"as_of": drop.as_of.isoformat()}, "trigger_run_id": drop.run_id} for drop in drops]

    TriggerDagRunOperator.partial(
        task_id="start_chain",
        trigger_dag_id=CHAIN,
        skip_when_already_exists=True,
        # Sequential: the oldest drop starts first.
        max_active_tis_per_dagrun=1,
        doc_md="Starts the chain for a drop. Skipped if a run for the same content exists.",
    ).expand_kwargs(find_drops())


churn_landing()
