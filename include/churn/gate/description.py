"""The report's entries for each compared version and each slice."""

from typing import Any

import numpy as np

from churn import statistics
from churn.gate.comparison import Comparison, Slice
from churn.gate.evidence import Evidence, Graded
from churn.statistics import Estimate


def auc_of(evidence: Evidence, scores: np.ndarray | None) -> Estimate | None:
    """Return the AUC of scores of the graded rows, None without scores or if it is undefined."""
    return None if scores is None else statistics.auc(evidence.labels, scores)


def describe_candidate(evidence: Evidence) -> dict[str, Any]:
    """Return the candidate's entry: `auc` is that of its recipe, `shipped_auc` that of the shipped pipeline."""
    shipped = evidence.candidate.shipped
    as_shipped = None if shipped is None else interval(auc_of(evidence, shipped))
    return {**_describe(evidence, evidence.candidate), "shipped_auc": as_shipped}


def describe_rival(evidence: Evidence, model: Graded | None, found: Comparison | None) -> dict[str, Any] | None:
    """Return a version's entry, with the candidate's figures on the basis of their comparison."""
    if model is None:
        return None
    compared = {
        "basis": found.basis.name if found else None,
        "basis_reason": found.basis.why if found else None,
        "candidate_auc": interval(found.ours if found else None),
        "difference": interval(found.auc if found else None),
    }
    return {**_describe(evidence, model), **compared}


def _describe(evidence: Evidence, model: Graded) -> dict[str, Any]:
    graded = model.scores is not None and len(evidence.labels) > 0
    return {
        "version": model.version,
        "run_id": model.run_id,
        "as_of": str(model.as_of),
        "recipe": model.recipe,
        "problem": model.problem,
        "auc": interval(auc_of(evidence, model.scores)),
        "out_of_fold_auc": interval(model.out_of_fold_auc),
        "brier": float(((model.scores - evidence.labels) ** 2).mean()) if graded and model.scores is not None else None,
        "calibration_error": statistics.calibration_error(evidence.labels, model.scores)
        if model.scores is not None
        else None,
    }


def describe_slice(each: Slice) -> dict[str, Any]:
    """Return a slice's entry."""
    return {
        "name": each.name,
        "rows": each.rows,
        "churned": each.churned,
        "candidate_auc": each.candidate_auc,
        "production_auc": each.other_auc,
        "difference": interval(each.difference),
        "p_value": each.p_value,
        "harmed": each.harmed,
    }


def interval(estimate: Estimate | None) -> dict[str, float] | None:
    """Return an estimate with its 95 % interval as JSON."""
    if estimate is None:
        return None
    low, high = estimate.interval()
    return {"value": estimate.value, "low": low, "high": high}
