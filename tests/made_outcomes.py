"""Judgements and expectations made without a model, in the tables alone, for tests of their readers."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from math import sqrt
from typing import Any

from psycopg.types.json import Jsonb

from churn.drift.distribution import Distribution
from churn.postgres.database import connect, execute, one

COHORTS, GATE_COHORT, OUT_OF_TIME = "gate and audit cohort", "gate cohort", "out of time"


def figures(auc: float | None, verdict: str = "as promised", **different: Any) -> dict[str, Any]:
    """Return a row of outcomes.performance: by default the list of version 1 on its cohorts, which decides."""
    rows = different.get("rows", 1400)
    error = 0.5 / sqrt(rows) if auc is not None else None
    promised = different.get("promised_auc", 0.8)
    return {
        "model_version": 1,
        "model_run_id": f"run-{different.get('model_version', 1)}",
        "source": "list",
        "basis": COHORTS,
        "arm": "all",
        "slice": "all",
        "decides": True,
        "rows": rows,
        "churned": rows // 4,
        **_around("auc", auc, error),
        "auc_error": error,
        "brier": 0.162,
        "calibration_intercept": 0.08,
        "calibration_slope": 0.94,
        "mean_probability": 0.241,
        "churn_rate": 0.25,
        "lift": 2.71,
        "capture": 0.271,
        "precision": 0.58,
        "recall": 0.61,
        **_around("promised_auc", promised, 0.012),
        "promised_error": None if promised is None else 0.012,
        "verdict": verdict,
        "reason": f"AUC {auc}, promised {promised}",
    } | different


def insert_judgement(
    database_url: str, as_of: date, known_as_of: date, rows: Iterable[dict[str, Any]], **different: Any
) -> int:
    """Add the next judgement of a date with these figures; return its revision."""
    judgement = {
        "as_of": as_of,
        "known_as_of": known_as_of,
        "list_revision": 1,
        "list_version": 1,
        "answering_version": None,
        "answering_run_id": None,
        "labelled_by": {str(known_as_of): "sha256"},
        "treated_by": {},
        "label_days": 28,
        "code_digest": "c",
    } | different
    with connect(database_url) as connection:
        asked = {**judgement, **{name: Jsonb(judgement[name]) for name in ("labelled_by", "treated_by")}}
        revision = int(one(connection, "outcomes/judge", asked)[0])
        for row in rows:
            execute(connection, "outcomes/record_performance", {**row, "as_of": as_of, "revision": revision})
    return revision


def insert_effect(database_url: str, as_of: date, revision: int, effect: float, control_contacted: int = 0) -> None:
    """Add the effect of a campaign on the top decile of a list."""
    row = {
        "as_of": as_of, "revision": revision, "contacted": 90, "control_contacted": control_contacted,
        "treat_rows": 100, "treat_churned": 20, "control_rows": 50, "control_churned": 20,
        **_around("effect", effect, 0.05),
    }  # fmt: skip
    with connect(database_url) as connection:
        execute(connection, "outcomes/record_effect", row)


def insert_verdict(
    database_url: str, version: int, run_id: str, verdict: str, as_of: date, drop_digest: str = "d"
) -> int:
    """Add a judgement with the one row that decides on the version, and return its revision.

    Args:
        drop_digest: of the drop of `as_of`, which brought the labels.
    """
    row = figures(0.514, verdict, model_version=version, rows=1406, promised_auc=0.83)
    row |= {"model_run_id": run_id, "auc_low": 0.481, "auc_high": 0.547, "reason": "AUC 0.514 (0.481 to 0.547)"}
    labelled_by = {as_of.isoformat(): drop_digest}
    return insert_judgement(database_url, as_of, as_of, [row], list_version=version, labelled_by=labelled_by)


def withdraw_judgements(database_url: str, drop: date) -> None:
    """Mark the judgements of a withdrawn drop."""
    with connect(database_url) as connection:
        execute(connection, "outcomes/mark_withdrawn", {"drop": drop})


def insert_expected(database_url: str, as_of: date, auc: float | None, **different: Any) -> None:
    """Add what is expected of revision 1 of a list, which must be there."""
    expected = {
        "as_of": as_of,
        "list_revision": 1,
        "basis": COHORTS,
        "code_digest": "c",
        "model_version": 1,
        "calibrated_on": date(2023, 12, 31),
        "rows": 1400,
        **_around("auc", auc, 0.012),
        **_around("brier", 0.16, 0.01),
        **_around("churn_rate", 0.25, 0.01),
    } | different
    expected["model_run_id"] = f"run-{expected['model_version']}"
    with connect(database_url) as connection:
        execute(connection, "outcomes/record_expected", expected)


def _around(name: str, value: float | None, error: float | None) -> dict[str, float | None]:
    low, high = (None, None) if value is None or error is None else (value - 1.96 * error, value + 1.96 * error)
    prefix = name.removesuffix("_auc")
    return {name: value, f"{prefix}_low": low, f"{prefix}_high": high}


def insert_drift(
    database_url: str,
    as_of: date,
    column: str,
    detail: str,
    distribution: Distribution | None = None,
    **different: object,
) -> None:
    """Add a finding of a column of an AS_OF, whose snapshot must be there: by default flagged, against its version."""
    row = {
        "as_of": as_of, "revision": 1, "model_version": 1, "model_run_id": "run-1", "reference": "version",
        "reference_as_of": None, "column_name": column, "rows": 7043, "reference_rows": 5282, "finding": "drift",
        "flagged": True, "effect": 0.31, "effect_limit": 0.1, "test": "KS", "statistic": 0.2, "p_value": 1e-9,
        "detail": detail, "inputs_digest": "i", "distribution": distribution and Jsonb(asdict(distribution)),
    } | different  # fmt: skip
    with connect(database_url) as connection:
        execute(connection, "drift/record", row)
