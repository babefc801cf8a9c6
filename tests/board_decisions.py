"""Fabricated decisions in the gate's tables, for tests of the board."""

import json
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import psycopg

INSERT = """
INSERT INTO gate.decisions (
    as_of, candidate_version, run_id, production_version, graded_on, outcome, reason, candidate_auc,
    candidate_auc_error, production_auc, production_auc_error, superior, report
) VALUES (
    %(as_of)s, %(candidate_version)s, %(run_id)s, %(production_version)s, %(graded_on)s, %(outcome)s, %(reason)s,
    %(candidate_auc)s, 0.011, %(production_auc)s, 0.012, false, %(report)s
) RETURNING id
"""
OUTCOMES = ("KEEP", "PROMOTE", "KEEP", "INVALID", "PROMOTE", "KEEP", "KEEP")


def a_decision(number: int, **different: Any) -> dict[str, Any]:
    """Return a decision whose kind depends on `number`, with its report."""
    outcome = different.get("outcome", OUTCOMES[number % len(OUTCOMES)])
    as_of = date(2024, 1, 31) + timedelta(days=number)
    auc = 0.81 + 0.02 * ((number * 7919) % 101 / 100 - 0.5)
    return {
        "as_of": as_of,
        "candidate_version": number + 2,
        "run_id": f"{number:032x}",
        "production_version": number + 1,
        "graded_on": as_of,
        "outcome": outcome,
        "reason": f"version {number + 2} is made up: {outcome}",
        "candidate_auc": None if outcome == "INVALID" else auc,
        "production_auc": 0.805,
        "report": _report(outcome, auc),
    } | different


def append_decisions(database_url: str, decisions: Iterable[dict[str, Any]]) -> list[int]:
    """Append these decisions and return their ids."""
    with psycopg.connect(database_url) as connection:
        return [
            connection.execute(INSERT, {**each, "report": json.dumps(each["report"])}).fetchone()[0]
            for each in decisions
        ]


def _report(outcome: str, auc: float) -> dict[str, Any]:
    """A report of a typical size, about 10 kB."""
    checks = [
        ("feature service", "churn_v1", "churn_v1", "PASS", "The candidate takes the features that are served."),
        ("disjoint from the cohort", 0, 0, "PASS", "None of 5,634 customers trained on is in the gate cohort."),
        ("AUC floor", auc, 0.6, "FAIL" if outcome == "INVALID" else "PASS", "The AUC is far above a coin's."),
        ("AUC against Production", 0.0051, -0.02, "FAIL" if outcome == "KEEP" else "PASS", "One-sided, 95 %."),
        ("calibration error", 0.021, None, "REPORT", "Reported, not judged: <b>markup stays text</b>."),
        ("Brier score", 0.0, 0.005, "UNCHANGED", "The scores are identical."),
    ]
    interval = {"value": auc, "low": auc - 0.022, "high": auc + 0.022}
    slices = [f"{name} = {value}" for name in ("net_service", "tenure", "senior") for value in ("a", "b", "c", "d")]
    version = {"as_of": "2024-01-31", "recipe": "hist_gradient_boosting", "auc": interval, "out_of_fold_auc": interval}
    return {
        "outcome": outcome,
        "reason": "made up",
        "recommendation": None,
        "needs_person": False,
        "superior": False,
        "as_of": "2024-01-31",
        "graded_on": "2024-01-31",
        "out_of_time": True,
        "rows": 1400,
        "churned": 371,
        "candidate": {"version": 2, "brier": 0.142, "calibration_error": 0.021, **version},
        "production": {"version": 1, "brier": 0.143, "calibration_error": 0.02, "problem": None, **version},
        "anchor": None,
        "difference": {"value": 0.0051, "low": -0.004, "high": 0.0142},
        "brier_difference": {"value": -0.001, "low": -0.003, "high": 0.001},
        "checks": [
            dict(zip(("name", "figure", "threshold", "outcome", "sentence"), each, strict=True), failing="INVALID")
            for each in checks
        ],
        "slices": [
            {"name": name, "rows": 120, "churned": 31, "candidate_auc": auc, "production_auc": 0.8,
             "difference": {"value": 0.01, "low": -0.03, "high": 0.05}, "p_value": 0.4, "harmed": False}
            for name in slices
        ],
        "audit": None,
        "thresholds": {"the room of a real report": "x" * 6000},
        "overridden": {},
        "overridden_by": None,
    }  # fmt: skip
