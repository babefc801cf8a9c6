"""Verdicts made without labels, for tests of their readers."""

from datetime import date

from psycopg.types.json import Jsonb

from churn.postgres.database import connect, execute, one

FIGURES = (
    "auc_error", "brier", "calibration_intercept", "calibration_slope", "mean_probability", "churn_rate", "lift",
    "capture", "precision", "recall", "promised_error", "promised_low", "promised_high",
)  # fmt: skip


def insert_verdict(
    database_url: str, version: int, run_id: str, verdict: str, as_of: date, drop_digest: str = "d"
) -> int:
    """Add a judgement with the one row that decides on the version, and return its revision.

    Args:
        drop_digest: of the drop of `as_of`, which brought the labels.
    """
    judged = {
        "as_of": as_of, "known_as_of": as_of, "list_revision": 1, "list_version": version, "answering_version": None,
        "answering_run_id": None, "labelled_by": Jsonb({as_of.isoformat(): drop_digest}), "code_digest": "",
    }  # fmt: skip
    row = {
        "model_version": version, "model_run_id": run_id, "source": "list", "basis": "gate and audit cohort",
        "arm": "all", "slice": "all", "decides": True, "rows": 1406, "churned": 300, "auc": 0.514, "auc_low": 0.481,
        "auc_high": 0.547, "promised_auc": 0.83, "verdict": verdict, "reason": "AUC 0.514 (0.481 to 0.547)",
    }  # fmt: skip
    with connect(database_url) as connection:
        revision = int(one(connection, "outcomes/judge", judged)[0])
        of = {"as_of": as_of, "revision": revision}
        execute(connection, "outcomes/record_performance", dict.fromkeys(FIGURES) | of | row)
    return revision
