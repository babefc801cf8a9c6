"""The tag of a version that was trained on customers who were erased since, and by when such a version is replaced.

It does not import MLflow, so that status and doctor start fast.
"""

from collections.abc import Mapping
from datetime import date, timedelta

from churn.registry.model_version import LONGEST_VALUE
from churn.settings import replace_days

TRAINED_ON_ERASED = "trained_on_erased"
"""The tag of a version that was trained on customers who were erased: the date of the first such erasure, in UTC. A
version that was only graded on them has none."""


def replace_by(erased_on: date, days: int | None = None) -> date:
    """Return the date by which a version is replaced in Production.

    Args:
        days: None for CHURN_REPLACE_DAYS.

    Raises:
        SettingError: CHURN_REPLACE_DAYS cannot be used.
    """
    return erased_on + timedelta(days=days or replace_days())


def erased_in_words(tags: Mapping[str, str], days: int | None = None) -> str | None:
    """Return that a version learned from erased customers, and by when to replace it; None without the tag.

    Args:
        days: as in replace_by(), which raises the same.
    """
    if (text := tags.get(TRAINED_ON_ERASED)) is None:
        return None
    try:
        erased_on = date.fromisoformat(text)
    except ValueError:  # edited by hand
        return f"learned from customers who were erased, on no date that can be read: {text[:LONGEST_VALUE]!r}"
    return f"learned from customers who were erased on {erased_on}: replace by {replace_by(erased_on, days)}"
