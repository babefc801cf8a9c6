"""The tasks of churn_erase that remove customers, each from one place."""

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk import get_current_context, task

from run import database_url, no_retry

ONE_PLACE = "churn_erasure"
"""Their pool. Each waits for the lock of personal data: tasks that could only wait for one another hold no slot."""


@task(multiple_outputs=False, pool=ONE_PLACE)
def archive() -> dict:
    """Writes archived files again without the customers, under new hashes; erasure.rewrites names both."""
    from churn.erasure.archive import erase_archive
    from churn.settings import read_settings

    with refusals():
        return erase_archive(*_request(), read_settings().archive).to_json()


@task(multiple_outputs=False, pool=ONE_PLACE)
def rows() -> dict:
    """Deletes the customers' rows: raw, snapshots, online features, Redis, scores, outcomes, prediction log."""
    from churn.erasure.rows import erase_rows

    with refusals():
        return erase_rows(*_request()).to_json()


@task(multiple_outputs=False, pool=ONE_PLACE)
def lists() -> dict:
    """Writes the files of the lists again without the customers, and renews their manifests."""
    from churn.erasure.lists import erase_lists
    from churn.settings import read_score_settings

    with refusals():
        return erase_lists(*_request(), read_score_settings().location).to_json()


@task(multiple_outputs=False, pool=ONE_PLACE)
def parquet() -> dict:
    """Writes Parquet snapshots again without the customers, where there are any (CHURN_OFFLINE=spark)."""
    from churn.erasure.parquet import erase_parquet
    from churn.settings import snapshots_url

    with refusals():
        return erase_parquet(*_request(), snapshots_url()).to_json()


@task(multiple_outputs=False, pool=ONE_PLACE)
def landing() -> dict:
    """Writes drops in the landing directory again without the customers, recorded as loaded: no chain starts."""
    from churn.erasure.landing import erase_landing
    from churn.settings import read_settings

    with refusals():
        return erase_landing(*_request(), read_settings().landing).to_json()


@task(multiple_outputs=False, pool=ONE_PLACE)
def models() -> dict:
    """Removes the customers from training sets, evidence and reports in MLflow; tags the versions trained on them
    `trained_on_erased`."""
    from churn.erasure.models import erase_models

    with refusals():
        return erase_models(*_request()).to_json()


@task(multiple_outputs=False, pool=ONE_PLACE)
def logs() -> dict:
    """Covers the customers' ids in the logs of tasks and services."""
    from pathlib import Path

    from airflow.configuration import conf

    from churn.erasure.logs import erase_logs
    from churn.settings import log_directories

    with refusals():
        directories = log_directories(Path(conf.get_mandatory_value("logging", "base_log_folder")))
        return erase_logs(*_request(), directories).to_json()


@task(multiple_outputs=False, pool=ONE_PLACE)
def sweep() -> dict:
    """Deletes predictions that were logged meanwhile, rewrites the tables that held rows of them (VACUUM FULL), and
    writes a checkpoint."""
    from churn.erasure.sweep import sweep

    with refusals():
        return sweep(*_request()).to_json()


@contextmanager
def refusals() -> Iterator[None]:
    """Fail the task without a retry on what a person must mend."""
    from churn.erasure.request import ErasureRefused

    with no_retry(ErasureRefused):
        yield


def _request() -> tuple:
    """Return the run's request, its customers by the file of ids, and the database: no task is given an id."""
    from churn.erasure.request import read_ids, required_directory

    request = get_current_context()["params"]["request"]
    return request, read_ids(request, required_directory()), database_url()
