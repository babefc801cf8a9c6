"""The measured effect of a campaign: treat against control in the top decile of a list.

It is intention to treat: every customer of arm treat counts, contacted or not, since those who could be contacted
differ from those who could not.
"""

from dataclasses import dataclass

from churn.outcomes.figures import effect_of_campaign
from churn.outcomes.rows import Rows
from churn.scores.arms import CONTROL, TREAT
from churn.statistics import Estimate


@dataclass(frozen=True)
class Effect:
    """Counts in the top decile, which is the rank range of top.csv.

    Attributes:
        contacted, control_contacted: customers with an action, by arm.
        difference: churn rate of treat - churn rate of control; below 0 the campaign kept customers. None without both.
    """

    contacted: int
    control_contacted: int
    treat_rows: int
    treat_churned: int
    control_rows: int
    control_churned: int
    difference: Estimate | None


def measure_effect(rows: Rows) -> Effect:
    """Return the effect of a campaign on the customers of a list.

    Args:
        rows: of a list, with deciles.
    """
    treat, control = (rows.take((rows.deciles == 1) & (rows.arms == arm)) for arm in (TREAT, CONTROL))
    treat_churned, control_churned = int(treat.labels.sum()), int(control.labels.sum())
    return Effect(
        contacted=int(treat.contacted.sum()),
        control_contacted=int(control.contacted.sum()),
        treat_rows=len(treat),
        treat_churned=treat_churned,
        control_rows=len(control),
        control_churned=control_churned,
        difference=effect_of_campaign(treat_churned, len(treat), control_churned, len(control)),
    )
