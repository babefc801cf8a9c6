"""Gains, lift and deciles of a list, from customers that the database counted in groups.

The gain of a depth is the share of the leavers whom the list reaches there; its lift is their rate there, as a multiple
of the rate over the whole list. Both know only customers whose label is known.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DEPTHS = 100
"""Steps of the list: depth k is its first k hundredths."""

BINS = 40
"""Bins of the distribution of churn_probability, each of width 1 / BINS."""


@dataclass(frozen=True)
class Group:
    """The customers of one step of the list, decile and bin.

    Attributes:
        depth: 1 to DEPTHS. bin: 0 to BINS - 1.
        expected, expected_treat: the sums of churn_probability, over all and over those of arm treat.
        labelled, churned: how many have a known label, and how many of these left.
    """

    depth: int
    decile: int
    bin: int
    customers: int
    treat: int
    expected: float
    expected_treat: float
    revenue_at_risk: float
    labelled: int
    churned: int


@dataclass(frozen=True)
class Part:
    """A part of the list: a decile, or all customers down to a depth. The fields are those of Group.

    Attributes:
        number: the decile or the depth.
        gain, lift: None without labels, or where nobody left.
    """

    number: int
    customers: int
    treat: int
    expected: float
    expected_treat: float
    revenue_at_risk: float
    labelled: int
    churned: int
    gain: float | None
    lift: float | None


@dataclass(frozen=True)
class Curves:
    """What the groups add up to.

    Attributes:
        depths: DEPTHS parts, each of all customers from the top down to it; none for a list without customers.
        deciles: those that have customers, each alone.
        bins: customers in each of BINS bins of churn_probability.
    """

    customers: int
    treat: int
    labelled: int
    churned: int
    depths: list[Part]
    deciles: list[Part]
    bins: list[int]


def last_rank(depth: int, customers: int) -> int:
    """Return the rank of the last customer of a depth, in a list of so many customers."""
    return -(-depth * customers // DEPTHS)


def curves_of(groups: Sequence[Group]) -> Curves:
    """Add up the groups of a whole list."""
    everybody = _part(0, groups, None)
    deciles = sorted({group.decile for group in groups})
    bins = [0] * BINS
    for group in groups:
        bins[group.bin] += group.customers
    return Curves(
        customers=everybody.customers,
        treat=everybody.treat,
        labelled=everybody.labelled,
        churned=everybody.churned,
        depths=[
            _part(depth, (group for group in groups if group.depth <= depth), everybody)
            for depth in range(1, DEPTHS + 1)
            if groups
        ],
        deciles=[_part(each, (group for group in groups if group.decile == each), everybody) for each in deciles],
        bins=bins,
    )


def gain(churned: int, all_churned: int) -> float | None:
    """Return the share of all leavers that a part of the list holds, None where nobody left."""
    return churned / all_churned if all_churned else None


def lift(churned: int, labelled: int, all_churned: int, all_labelled: int) -> float | None:
    """Return the rate of leaving in a part of the list over the rate in all of it, None where one is not known or 0."""
    return churned / labelled / (all_churned / all_labelled) if labelled and all_churned else None


def _part(number: int, groups: Iterable[Group], everybody: Part | None) -> Part:
    own = list(groups)
    labelled, churned = sum(each.labelled for each in own), sum(each.churned for each in own)
    return Part(
        number=number,
        customers=sum(each.customers for each in own),
        treat=sum(each.treat for each in own),
        expected=sum(each.expected for each in own),
        expected_treat=sum(each.expected_treat for each in own),
        revenue_at_risk=sum(each.revenue_at_risk for each in own),
        labelled=labelled,
        churned=churned,
        gain=gain(churned, everybody.churned) if everybody else None,
        lift=lift(churned, labelled, everybody.churned, everybody.labelled) if everybody else None,
    )
