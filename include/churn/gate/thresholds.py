"""What the gate's checks are held against: named constants, each with how its value was chosen."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


class ThresholdError(ValueError):
    """A threshold that there is not, or a value that it cannot have."""


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a run of the gate."""

    # The standard error of an AUC of 0.8 at 200 rows with 30 leavers is about 0.05: below that, nothing can be told.
    min_rows: int = 200
    min_each_class: int = 30
    # Labels may come two drops late, of months, and a grading date older than that says nothing of today's customers.
    max_label_age_days: int = 100
    # A coin has 0.5. At the 1,400 cohort rows of a 7,000-customer drop three standard errors are 0.05.
    min_auc: float = 0.55
    # The margin of non-inferiority: a newer model is worth this much AUC. Half of what one loses in three months of
    # drifting behaviour, and what 1,400 rows can tell with models as alike as these.
    max_auc_loss: float = 0.02
    # True: promote only what is shown to be better, instead of what is shown not to be worse by the margin.
    require_superior: bool = False
    # Of the one-sided bounds: of a hundred candidates that are worse by exactly the margin, five pass.
    confidence: float = 0.95
    # Probabilities that are 7 points off everywhere lose this much; so does a calibrated model that loses 0.014 of AUC,
    # which makes it the stricter of the two margins where the rows are many.
    max_brier_loss: float = 0.005
    # A slice below this has an interval wider than any harm that could be found in it.
    min_slice_rows: int = 100
    min_slice_each_class: int = 20
    # The harm that a slice is protected from; the family-wise error of all slices together is 1 - confidence.
    max_slice_auc_loss: float = 0.05
    # How far the cohort's AUC may lie above the model's own out of fold. Both are of customers that it did not see, so
    # that they differ by chance alone: by four standard errors in one of 30,000 decisions. A leaked forest differs by
    # 0.17, which is five of them with 300 rows, and more with more.
    leak_margin: float = 0.05
    leak_errors: float = 4.0
    # With fewer training rows, a model must be shown to know more than chance.
    small_training_rows: int = 2_000
    max_chance: float = 0.01
    # What the model gives wherever it is loaded, against what it gave when it was trained.
    max_golden_difference: float = 1e-6
    # For one customer in the serving process's own code path; a forest of 300 trees takes 15 to 30 ms here.
    max_latency_ms: float = 100.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def override(self, values: Mapping[str, Any]) -> "Thresholds":
        """Return these thresholds with some replaced.

        Raises:
            ThresholdError: a name that is none, or a value of another type.
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
        negative = [name for name, value in changed.to_json().items() if value < 0]
        if negative:
            raise ThresholdError(f"{negative[0]} must not be negative, got {getattr(changed, negative[0])}")
        if not 0.5 < changed.confidence < 1:
            raise ThresholdError(f"confidence must lie between 0.5 and 1, got {changed.confidence}")
        return changed


_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}
