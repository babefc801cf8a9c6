"""MLflow: customers are removed from the files of every run, and the versions that learned from them are tagged.

A version itself stays: what it learned is a function of thousands of customers. It is replaced in time, see
churn.registry.erased. A version that was only graded on them is not tagged, and cannot be reproduced either. Both are
recorded before the files change, because nothing else tells it afterwards.
"""

import logging
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from churn.erasure.request import record_place
from churn.erasure.run_files import PLACES, TRAINED_ON, Change, RunFile, changes_of, files_of, learned_from, rows_in
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, lock_session, one
from churn.postgres.personal_data import erasing_personal_data
from churn.registry.artifacts import ArtifactRefused
from churn.registry.client import find_versions, is_missing, list_runs
from churn.registry.client import production as find_production
from churn.registry.erased import TRAINED_ON_ERASED, replace_by
from churn.registry.evidence import EVIDENCE
from churn.registry.model_version import MODEL_NAME, ModelVersion
from churn.retention import RETENTION_LOCK
from churn.training.lineage import TRAINING_SET

log = logging.getLogger(__name__)


def erase_models(request: str, users: frozenset[str], database_url: str) -> Outcome:
    """Remove these customers from the files of every run, active or deleted, and tag the versions that were trained
    on them. UNCHANGED if no file held one.

    Raises:
        SettingError: CHURN_REPLACE_DAYS cannot be used.
        mlflow.exceptions.MlflowException: MLflow is unavailable.
    """
    client = MlflowClient()
    looked_at: Counter[str] = Counter()
    rewritten: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    learned: set[int] = set()
    # A training or a decision that is under way would log files with them.
    with erasing_personal_data(database_url), connect(database_url, autocommit=True) as connection:
        # Not during a backup, which reads the files, nor while retention deletes them: an upload would bring one back.
        lock_session(connection, RETENTION_LOCK)
        for run_id, versions in _runs(client):
            files = _served_files(run_id)
            looked_at.update(file.place for file in files)
            with tempfile.TemporaryDirectory() as directory:
                changes = [*changes_of(files, users, Path(directory))]
                changed = [each.file for each in changes]
                if any(file.makes_version for file in changed):
                    learned |= _mark(connection, client, versions, request, learned_from(files, changed))
                for each in changes:
                    each.upload()
                    rewritten[each.file.place] += 1
                    rows[each.file.place] += each.rows
                    _record(connection, request, each, looked_at)
        with connection.transaction():
            for place in PLACES:
                record_place(connection, request, place, looked_at=looked_at[place], rewritten=0, rows=0)
    figures = {
        "looked_at": looked_at.total(),
        "rewritten": rewritten.total(),
        "rows": rows.total(),
        "versions": sorted(learned),
    }
    if not rewritten:
        return Outcome(UNCHANGED, f"none of {looked_at.total()} files in MLflow holds one of the customers", figures)
    said = f"{rows.total()} rows removed from {rewritten.total()} of {looked_at.total()} files in MLflow"
    return Outcome(DONE, f"{said}; {_about(learned)}{_about_production(client, learned)}", figures)


def held_in_models(user: str) -> list[dict[str, Any]]:
    """Return what MLflow holds of a customer, by version and run.

    Each has: version (None for a run without one), run_id, as_of (the tag of the version), trained_on (the model
    learned from the customer), graded_on (it was graded on them), training_set (rows of the kept training set), files
    (rows of other files, by path). All of it is JSON.
    """
    found = []
    for run_id, versions in _runs(MlflowClient()):
        with tempfile.TemporaryDirectory() as directory:
            rows = rows_in(_served_files(run_id), user, Path(directory))
        if not rows:
            continue
        held = {
            "trained_on": TRAINED_ON in rows,
            "graded_on": any(f"{EVIDENCE}/{name}.parquet" in rows for name in ("grades", "audit")),
            "training_set": rows.pop(TRAINING_SET, []),
            "files": rows,
        }
        of: Sequence[ModelVersion | None] = versions or [None]
        for each in of:
            as_of = each.tags.get("as_of") if each else None
            found.append({"version": each and each.version, "run_id": run_id, "as_of": as_of, **held})
    return found


def _runs(client: MlflowClient) -> Iterator[tuple[str, Sequence[ModelVersion]]]:
    """Yield every run of the experiment with its versions, then the runs of versions that were registered by hand from
    other experiments."""
    by_run: dict[str, list[ModelVersion]] = defaultdict(list)
    for version in find_versions(client, {}):
        by_run[version.run_id].append(version)
    # No page of MLflow is open while files are rewritten.
    for run_id in [each.info.run_id for each in list_runs(client)]:
        yield run_id, by_run.pop(run_id, [])
    yield from ((run_id, versions) for run_id, versions in by_run.items() if run_id)


def _served_files(run_id: str) -> list[RunFile]:
    """Return the files of a run; none if it was deleted for good, or keeps them in a store of its own."""
    try:
        return files_of(run_id)
    except ArtifactRefused as error:
        log.warning("the files of run %s are not looked at: %s", run_id, error)
    except MlflowException as error:
        if not is_missing(error):
            raise
    return []


def _mark(
    connection: Connection, client: MlflowClient, versions: Sequence[ModelVersion], request: str, learned: bool
) -> set[int]:
    """Record that files of the versions of a run held the customers, then tag those that learned from them with the
    date of the first such erasure. Return the tagged ones.

    Args:
        learned: by the files as they are now. An earlier call of the request may have recorded it.
    """
    tagged = set()
    for each in versions:
        key = {"version": each.version, "run_id": each.run_id}
        if not one(connection, "erasure/record_version", {**key, "request": request, "learned": learned})[0]:
            continue
        first: date = one(connection, "erasure/first_of_version", key)[0]
        if TRAINED_ON_ERASED not in each.tags:
            client.set_model_version_tag(MODEL_NAME, str(each.version), TRAINED_ON_ERASED, first.isoformat())
        tagged.add(each.version)
    return tagged


def _record(connection: Connection, request: str, change: Change, looked_at: Mapping[str, int]) -> None:
    place = change.file.place
    record_place(connection, request, place, looked_at=looked_at[place], rewritten=1, rows=change.rows)


def _about(learned: set[int]) -> str:
    numbers = ", ".join(map(str, sorted(learned)))
    return f"trained on them: version {numbers}" if learned else "no version was trained on them"


def _about_production(client: MlflowClient, learned: set[int]) -> str:
    production = find_production(client)
    if production is None or production.version not in learned:
        return ""
    by = replace_by(date.fromisoformat(production.tags[TRAINED_ON_ERASED]))
    return f"; version {production.version} is in Production: replace it by {by}"
