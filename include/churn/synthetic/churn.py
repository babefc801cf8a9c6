"""The true churn probability: a logistic model on a drop's columns, stationary unless drift is set.

Drift rotates the first relationship into the second, by a share of a quarter turn each month. The signal of each month
stays strong while older models degrade.
"""

from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray

from churn.synthetic.observations import Observations

# Above this, tenure has no effect.
OLDEST_MONTHS = 72
# Weights in logits per standard score, or per indicator (Fiber optic, a long contract). Tuned for a churn rate of about
# 26 % and an AUC of 0.83 on the features of `churn_v1`, which do not include the contract. Much of the signal is usage,
# whose distribution is stable; tenure and contract shift as customers leave and join.
BASE_RATE = -1.5
FIRST_RELATION = {
    "months": -0.9,
    "fiber": 1.45,
    "no_net": -1.3,
    "year_or_more": -0.75,
    "paperless": 0.35,
    "watching": -0.55,
    "rebuffers": 0.42,
    "failed_payments": 0.45,
    "tickets": 0.42,
}
SECOND_RELATION = {
    "months": 0.3,
    "skips": 1.0,
    "session": -1.0,
    "rebuffers": 0.7,
    "failed_payments": 0.4,
    "tickets": 0.4,
    "watching": 0.5,
}


def churn_probability(seen: Observations, months_since_start: float, drift: float) -> NDArray[np.float64]:
    """Return each customer's true probability of leaving in the period that starts at the AS_OF of `seen`.

    Args:
        seen: the columns of the drop.
        months_since_start: the age of the simulation; used only with drift.
        drift: the share of a quarter turn per month from the first relationship to the second. With 0.1 the first has
            no weight after ten months; 0 means no drift.
    """
    score = _standard_scores(seen)
    angle = drift * months_since_start * pi / 2
    logit = np.full(len(score["months"]), BASE_RATE)
    for share, relation in ((cos(angle), FIRST_RELATION), (sin(angle), SECOND_RELATION)):
        for name, weight in relation.items():
            logit += share * weight * score[name]
    return 1 / (1 + np.exp(-logit))


def _standard_scores(seen: Observations) -> dict[str, NDArray[np.float64]]:
    """Return the scores, standardized by constants, because the population's own mean would hide its shifts."""
    months = np.log1p(np.minimum(seen["months_active"], OLDEST_MONTHS))
    return {
        "months": (months - 3.0) / 1.2,
        "fiber": (seen["net_service"] == "Fiber optic") - 0.44,
        "no_net": (seen["net_service"] == "No") - 0.22,
        "year_or_more": (seen["contract_type"] != "Month-to-month") - 0.45,
        "paperless": seen["paperless_billing"] - 0.59,
        "watching": (seen["watch_hours_30d"] - 29.6) / 6.75,
        "session": (seen["avg_session_mins_7d"] - 29.1) / 6.0,
        "skips": (seen["skips_7d"] - 5.05) / 2.25,
        "rebuffers": (seen["rebuffer_events_7d"] - 2.3) / 1.55,
        "failed_payments": (seen["failed_payments_90d"] - 0.17) / 0.41,
        "tickets": (seen["support_tickets_90d"] - 0.31) / 0.56,
    }
