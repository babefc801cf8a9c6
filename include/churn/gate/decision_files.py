"""Where the run of a candidate keeps what belongs to a decision on it: a folder for each, so that a second decision on
the same version leaves the first one's report and pictures as they were. A folder whose number gate.decisions does not
have is of an attempt that died, and of no decision."""

from collections.abc import Mapping
from typing import Any

REPORT = "report.json"
SCORES = "scores.parquet"
CANDIDATE_AS_SHIPPED = "candidate_as_shipped"
"""The column of SCORES with what the candidate as it ships gave, empty where no version was compared with it."""


def folder_of(decision: int) -> str:
    """Return the folder, among the artifacts of the run, of a row of gate.decisions."""
    return f"decisions/{decision}"


def source_of(decision: int, report: Mapping[str, Any]) -> int:
    """Return the decision that the gate made: one that only sets another aside has that one's figures and pictures."""
    return int(report.get("sets_aside", decision))
