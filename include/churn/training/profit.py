"""Expected profit of a list of customers, the threshold of the highest one, and EMPC.

All are per customer, of the contacted and the others, in the currency of the Value. Whoever scores at or above the
threshold is contacted, and only a leaver can be kept:

    profit = success rate * margin * leavers contacted - cost * contacts
"""

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import betaincc

from churn.value import Value

CONTACT_NOBODY = 1.0
"""The threshold where contacting pays nowhere: the highest that a version may have. Only a score of 1 reaches it."""

CERTAINTY = 20.0
"""Sum of the parameters of the success rate's Beta distribution. The paper's is Beta(6, 14)."""


def expected_profit(labels: np.ndarray, contacted: np.ndarray, value: Value) -> float:
    """Return the profit per customer of contacting these.

    Args:
        labels, contacted: booleans, one per customer.
    """
    leavers, contacts = np.count_nonzero(labels & contacted), np.count_nonzero(contacted)
    return float(value.success_rate * value.margin * leavers - value.contact_cost * contacts) / len(labels)


def most_profitable_threshold(labels: np.ndarray, scores: np.ndarray, value: Value) -> float:
    """Return the score from which on contacting earns the highest profit; of several, that of the fewest contacts.
    Where no score earns more than 0, CONTACT_NOBODY."""
    distinct, leavers, contacts = _by_score(labels, scores)
    # From the top down.
    leavers, contacts = leavers[::-1].cumsum(), contacts[::-1].cumsum()
    profits = value.success_rate * value.margin * leavers - value.contact_cost * contacts
    best = int(np.argmax(profits))
    return float(distinct[::-1][best]) if profits[best] > 0 else CONTACT_NOBODY


def empc(labels: np.ndarray, scores: np.ndarray, value: Value) -> float:
    """Return the expected maximum profit measure for customer churn: the profit per customer if each success rate gets
    its own best threshold, averaged over the success rates.

    Source: Verbraken, Verbeke, Baesens, "A Novel Profit Maximizing Metric for Measuring Classification Performance of
    Customer Churn Prediction Models", IEEE TKDE 25(5), 2013. Their parameters, and ours:

    - customer lifetime value CLV: margin;
    - cost of the incentive d: 0, since the margin is net of an offer, so delta = d / CLV = 0;
    - cost of a contact f: contact_cost, so phi = f / CLV = contact_cost / margin;
    - success rate gamma: Beta distributed, with the paper's alpha + beta = 20 and the mean success_rate. At 0.3 that
      is the paper's Beta(6, 14).

    With delta = 0 their profit of a threshold, CLV (gamma - phi) pi0 F0 - CLV phi pi1 F1, is expected_profit().

    A best threshold is a vertex of the convex hull of the ROC curve, and a segment of the hull is contacted if that
    pays. So the measure is a sum over segments of E[max(0, gamma * margin * leavers - cost * contacts)], each exact by
    incomplete Beta functions. Isotonic regression finds the hull (Fawcett, Niculescu-Mizil, "PAV and the ROC convex
    hull", Machine Learning 68, 2007): its fit is the share of leavers in the segment of each score.
    """
    _, leavers, contacts = _by_score(labels, scores)
    share = isotonic_regression(leavers / contacts, weights=contacts).x
    gain = value.margin * share
    # The success rate from which on a contact of each score pays; 1: it never does.
    pays = np.divide(value.contact_cost, gain, out=np.ones_like(gain), where=gain > value.contact_cost)
    alpha, beta = CERTAINTY * value.success_rate, CERTAINTY * (1 - value.success_rate)
    earned = gain * value.success_rate * betaincc(alpha + 1, beta, pays)
    spent = value.contact_cost * betaincc(alpha, beta, pays)
    return float(np.dot(contacts, earned - spent) / len(labels))


def profit_metrics(
    name: str, labels: np.ndarray, scores: np.ndarray, threshold: float, value: Value | None
) -> dict[str, float]:
    """Return the metrics {name}_expected_profit, at the threshold, and {name}_empc; none without a value or rows."""
    if value is None or len(labels) == 0:
        return {}
    return {
        f"{name}_expected_profit": expected_profit(labels, scores >= threshold, value),
        f"{name}_empc": empc(labels, scores, value),
    }


def _by_score(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct scores in ascending order, with the leavers and the customers of each."""
    distinct, where, customers = np.unique(scores, return_inverse=True, return_counts=True)
    return distinct, np.bincount(where, weights=labels), customers
