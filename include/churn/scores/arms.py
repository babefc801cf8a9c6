"""The control arm: a fixed share of customers whom no campaign may contact.

Without them, nobody can tell what a campaign did, nor whether the model is still right: a campaign that works keeps the
very customers whom the model expects to leave.
"""

from collections.abc import Iterable

import numpy as np

from churn.training.cohort import positions

CONTROL, TREAT = "control", "treat"

SALT = "streamflow-arms-1"
"""Do not change during a campaign: another salt assigns other customers. It differs from the gate cohort's, so the arms
are independent of the cohorts."""


def arms(user_ids: Iterable[str], control_share: float) -> np.ndarray:
    """Return the arm of each user, in their order: CONTROL for `control_share` (0 to 1) of all users, else TREAT.

    A user's arm depends on nothing but the user and the share. A larger share only adds users to CONTROL.
    """
    return np.where(positions(user_ids, SALT) < control_share, CONTROL, TREAT)
