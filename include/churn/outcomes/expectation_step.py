"""expect: what a list will achieve, before its labels come (see churn.outcomes.expected for the method).

The scores are calibrated on the gate and audit cohort of the date that the version was graded on. It had learned
neither from these customers nor, with two dates or more, from their date.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pyarrow as pa
from mlflow import MlflowClient

from churn.code import step_digest
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.outcomes.expected import Expected, believed, expect, fit_calibration
from churn.outcomes.judging import COHORTS
from churn.outcomes.rows import list_scores
from churn.outcomes.track import read_track
from churn.postgres.database import connect, execute, lock_session, one
from churn.registry import client as registry
from churn.registry.evidence import keeps_evidence, read_evidence
from churn.registry.model_version import ModelVersion
from churn.scores.run import Run, current_run
from churn.statistics import Estimate
from churn.training.cohort import cohorts
from churn.training.training_set import LABEL

EVERYBODY = "all customers"
"""The basis of the expected churn rate of the whole list."""


class NothingToExpect(RuntimeError):
    """No expectation can be made, and the message says why."""


def expect_performance(as_of: date, database_url: str) -> Outcome:
    """Estimate AUC, Brier score and churn rate of the list of `as_of`. UNCHANGED if the same list was estimated.

    Raises:
        NothingToExpect: there is no list, its version keeps no evidence, or was graded on this date or a later one.
    """
    with connect(database_url, autocommit=True) as connection:
        lock_session(connection, "expected", as_of.isoformat())
        run = current_run(connection, as_of)
        if run is None:
            raise NothingToExpect(f"{as_of} has no list")
        named = {"as_of": as_of, "list_revision": run.revision, "code_digest": step_digest(__package__)}
        if one(connection, "outcomes/expected", named)[0]:
            return Outcome(UNCHANGED, f"the list of {as_of} was estimated before", {"revision": run.revision})
        version = _version_of(run)
        calibrated_on, found = _estimates(version, list_scores(database_url, run), as_of)
        of_version = {"model_version": version.version, "model_run_id": version.run_id, "calibrated_on": calibrated_on}
        with connection.transaction():
            for basis, rows, expected in found:
                row = {**named, **of_version, "basis": basis, "rows": rows, **_columns(expected)}
                execute(connection, "outcomes/record_expected", row)
        is_believed, why = believed(read_track(connection))
    of_cohort = found[0][2]
    said = f"AUC {of_cohort.auc} and churn rate {of_cohort.churn_rate} are expected of {as_of}"
    return Outcome(DONE, f"{said}{'' if is_believed else ', not to be believed'}: {why}", {"revision": run.revision})


def _version_of(run: Run) -> ModelVersion:
    version = registry.find_version(MlflowClient(), run.model_version)
    if version.run_id != run.model_run_id or not keeps_evidence(version.run_id):
        raise NothingToExpect(
            f"version {run.model_version} keeps no scores of its cohorts, so they cannot be calibrated"
        )
    return version


def _estimates(version: ModelVersion, scored: pa.Table, as_of: date) -> tuple[date, list[tuple[str, int, Expected]]]:
    """Return the date of calibration, and basis, rows and figures: of the cohorts, then of everybody."""
    calibrated_on = date.fromisoformat(version.tags["graded_on"])
    if calibrated_on >= as_of:
        raise NothingToExpect(f"version {version.version} was graded on {calibrated_on}: its labels are there")
    grades = pa.concat_tables(read_evidence(version.run_id, of, [LABEL, "score"]) for of in ("grades", "audit"))
    calibration = fit_calibration(grades[LABEL].to_numpy(), grades["score"].to_numpy())
    if calibration is None:
        raise NothingToExpect(f"the cohorts of {calibrated_on} are too small to calibrate version {version.version}")
    scores = scored["churn_probability"].to_numpy()
    gate, audit = cohorts(scored["user_id"].to_pylist())
    parts = ((COHORTS, scores[gate | audit]), (EVERYBODY, scores))
    found = [(basis, len(part), expected) for basis, part in parts if (expected := expect(part, calibration))]
    if len(found) < len(parts):
        raise NothingToExpect(f"no customer of {as_of} is in the gate or audit cohort")
    return calibrated_on, found


def _columns(expected: Expected) -> dict[str, Any]:
    return {
        name: value
        for figure in ("auc", "brier", "churn_rate")
        for name, value in _with_interval(figure, getattr(expected, figure))
    }


def _with_interval(figure: str, found: Estimate | None) -> Iterator[tuple[str, float | None]]:
    low, high = found.interval() if found else (None, None)
    yield from ((figure, found.value if found else None), (f"{figure}_low", low), (f"{figure}_high", high))
