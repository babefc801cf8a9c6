"""The thresholds of the gate's checks, each with its rationale."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from churn.statistics import FLOOR


class ThresholdError(ValueError):
    """An unknown threshold or an invalid value."""


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of one run of the gate."""

    # The standard error of an AUC of 0.8 at 200 rows with 30 leavers is about 0.05; fewer rows are too noisy.
    min_rows: int = 200
    min_each_class: int = 30
    # Labels may come two monthly drops late; an older grading date does not represent today's customers.
    max_label_age_days: int = 100
    min_auc: float = FLOOR
    # Non-inferiority margin: a newer model is worth this much AUC. It is half of the loss in three months of drift, and
    # what 1,400 rows can resolve for similar models.
    max_auc_loss: float = 0.02
    # True: superiority instead of non-inferiority.
    require_superior: bool = False
    # Of the one-sided bounds: of a hundred candidates that are worse by exactly the margin, five pass.
    confidence: float = 0.95
    # Probabilities that are off by 7 points lose this much, and so does a calibrated model that loses 0.014 of AUC.
    # With many rows this is the stricter margin.
    max_brier_loss: float = 0.005
    # In smaller slices the interval is wider than any detectable harm.
    min_slice_rows: int = 100
    min_slice_each_class: int = 20
    # Accepted loss in a slice; the family-wise error rate of all slices is 1 - confidence.
    max_slice_auc_loss: float = 0.05
    # How far the cohort's AUC may lie above the out-of-fold AUC. Both are of unseen customers and differ by chance
    # alone: by four standard errors in one of 30,000 decisions. A leaked forest differs by 0.17, five standard errors
    # at 300 rows.
    leak_margin: float = 0.05
    leak_errors: float = 4.0
    # With fewer training rows, a model must be shown to be better than chance.
    small_training_rows: int = 2_000
    max_chance: float = 0.01
    # Scores of the loaded model against those at training.
    max_golden_difference: float = 1e-6
    # One customer in serving's code path; a forest of 300 trees takes 15 to 30 ms.
    max_latency_ms: float = 100.0

    def override(self, values: Mapping[str, Any]) -> "Thresholds":
        """Return these thresholds with some replaced.

        Raises:
            ThresholdError: an unknown name, or an invalid value.
        """
        kinds: dict[str, Any] = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        for name, value in values.items():
            if name not in kinds:
                raise ThresholdError(f"there is no threshold {name!r}; there are: {', '.join(kinds)}")
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            fits = (
                isinstance(value, bool) if kinds[name] is bool else number and (kinds[name] is float or value % 1 == 0)
            )
            if not fits:
                raise ThresholdError(f"{name} must be {_KINDS[kinds[name]]}, got {value!r}")
        changed = replace(self, **{name: kinds[name](value) for name, value in values.items()})
        negative = [name for name, value in asdict(changed).items() if value < 0]
        if negative:
            raise ThresholdError(f"{negative[0]} must not be negative, got {getattr(changed, negative[0])}")
        if not 0.5 < changed.confidence < 1:
            raise ThresholdError(f"confidence must lie between 0.5 and 1, got {changed.confidence}")
        return changed


_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}
