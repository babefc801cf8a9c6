"""How the rows of a flagged column are spread, in its reference and now: what the page Health draws."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from churn.drift.reference import JUST_BELOW, Profile

MOST = 20
"""Texts with a share of their own: more do not fit into a picture. Numbers have 21 bins at most, where ten values have
a bin each."""

DIGITS = 4
"""Decimals of a share, and significant digits of a bound. A picture shows tenths of a percent."""


@dataclass(frozen=True)
class Distribution:
    """Shares of all rows of either side. With `other` and `nulls` each side adds up to 1, but for the rounding.

    Attributes:
        bins: of numbers the ranges in words, ascending; of texts and booleans the values, the largest share first.
        reference, now: a share for each of `bins`.
        other: all other texts together, in the reference and now; None if there are none.
        nulls: rows without a value, in the reference and now.
    """

    bins: tuple[str, ...]
    reference: tuple[float, ...]
    now: tuple[float, ...]
    other: tuple[float, float] | None
    nulls: tuple[float, float]


def distribution_of(now: Profile, reference: Profile) -> Distribution:
    """Return the shares of both sides. Bins that are empty on both sides are left out.

    Args:
        now: counted on the bins of the reference.
    """

    def shares(before: int, after: int) -> tuple[float, float]:
        return _share(before, reference), _share(after, now)

    counted = _ranges(now, reference) if reference.is_ordered else _values(now, reference)
    bars = [bar for bar in counted if bar[1] or bar[2]]
    most = len(bars) if reference.is_ordered else MOST
    shown, rest = bars[:most], bars[most:]
    return Distribution(
        bins=tuple(name for name, _, _ in shown),
        reference=tuple(_share(before, reference) for _, before, _ in shown),
        now=tuple(_share(after, now) for _, _, after in shown),
        other=shares(sum(before for _, before, _ in rest), sum(after for _, _, after in rest)) if rest else None,
        nulls=shares(reference.nulls, now.nulls),
    )


def _share(count: int, of: Profile) -> float:
    return round(count / max(of.rows, 1), DIGITS)


def _ranges(now: Profile, reference: Profile) -> Iterable[tuple[str, int, int]]:
    return zip(_names([float(edge) for edge in reference.bins]), reference.counts, now.counts, strict=True)


def _names(edges: Sequence[float]) -> list[str]:
    """Return the names of the bins between the edges."""
    if not edges:
        return ["any value"]
    # A value with a bin of its own has an edge just below it, which is named as the value.
    named = [high if _is_just_below(low, high) else low for low, high in pairwise([*edges, inf])]
    first = f"{'up to' if named[0] == edges[0] else 'below'} {_number(named[0])}"
    between = [_number(low) if low == high else f"{_number(low)} to {_number(high)}" for low, high in pairwise(named)]
    return [first, *between, f"above {_number(named[-1])}"]


def _is_just_below(low: float, high: float) -> bool:
    return high - low < 2 * JUST_BELOW * max(1, abs(high))


def _number(value: float) -> str:
    return f"{float(f'{value:.{DIGITS}g}'):,g}"


def _values(now: Profile, reference: Profile) -> Iterable[tuple[str, int, int]]:
    before, after = _counted(reference), _counted(now)
    largest = {name: max(_share(before[name], reference), _share(after[name], now)) for name in before | after}
    return ((name, before[name], after[name]) for name in sorted(largest, key=lambda name: (-largest[name], name)))


def _counted(profile: Profile) -> Counter[str]:
    return Counter(dict(zip(map(str, profile.bins), profile.counts, strict=True))) + Counter(profile.elsewhere)
