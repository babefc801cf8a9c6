"""Artifact paths of a decision in the candidate's run: one folder per decision, so that a later decision on the same
version does not overwrite an earlier report. A folder without a row in gate.decisions is left from a killed attempt."""

from collections.abc import Mapping
from typing import Any

REPORT = "report.json"
SCORES = "scores.parquet"
CANDIDATE_AS_SHIPPED = "candidate_as_shipped"
"""Column of SCORES with the scores of the shipped candidate, empty if no version was compared with it."""


def folder_of(decision: int) -> str:
    """Return the artifact folder of a row of gate.decisions."""
    return f"decisions/{decision}"


def source_of(decision: int, report: Mapping[str, Any]) -> int:
    """Return the decision whose figures and pictures apply: the one set aside, if the decision sets one aside."""
    return int(report.get("sets_aside", decision))
