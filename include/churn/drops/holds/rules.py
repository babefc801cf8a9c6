"""The rules of holds: differences from the nearest earlier loaded drop that a person must accept.

A drop that obeys the contract may still use another unit, other words or another population. A false hold stops the
chain, so the limits are far from chance; `make bench ARGS=holds` counts false holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from churn.drops.contract import REQUIRED_FILES, USER_ID, USERS, Kind
from churn.drops.holds.profile import Figures, Profile, customers_of

LEAST_SHARE = 0.5
"""Share of the earlier drop's ids. With fewer, the drop is probably truncated or uses other ids."""
MOST_TIMES = 2
"""Growth of customers from one drop to the next."""
MOST_FACTOR = 5
"""Change of a median. Cents for euros is a factor of 100, hours for minutes 60, 30 days for 7 about 4."""
LEAST_ROWS = 200
"""Minimum values for comparing medians, in both drops: with fewer, chance moves them."""
MOST_UNSEEN = 0.05
"""Share of customers with a text that the earlier drop did not have: a new tariff starts with fewer."""
EXPECTED = 10
"""Customers expected to differ from the most frequent value before a constant column is a finding: none by chance then
has a probability of e^-10, 1 in 22,000. From LEAST_ROWS on, MOST_UNSEEN is the stricter limit for texts."""
SHOWN_TEXTS = 5


@dataclass(frozen=True)
class Look:
    """The compared parts of a drop: the sha256 of each file, and the profile."""

    sha256: Mapping[str, str]
    profile: Profile


def compare(now: Look, before: Look, shared: int) -> list[str]:
    """Return the differences that a person must accept, a sentence each.

    Args:
        shared: number of ids that both drops have.
    """
    if all(now.sha256[file.name] == before.sha256[file.name] for file in REQUIRED_FILES):
        customers = customers_of(now.profile)
        return [f"all five required files are byte for byte those of the drop before ({_of(customers)})"]
    return [
        *_population(customers_of(now.profile), customers_of(before.profile), shared),
        *(
            f"{file.name}, column {column.name}: {finding}"
            for file in REQUIRED_FILES
            for column in file.columns
            if column.name in before.profile[file.name]
            for finding in _column(
                column.kind, now.profile[file.name][column.name], before.profile[file.name][column.name]
            )
        ),
    ]


def _population(now: int, before: int, shared: int) -> Iterator[str]:
    if shared < LEAST_SHARE * before:
        yield (
            f"{USERS.name}, column {USER_ID.name}: {shared:,} of the {before:,} ids of the drop before are "
            f"in this one, fewer than half; it has {_of(now)}"
        )
    if now > MOST_TIMES * before:
        yield f"{USERS.name}: {_of(now)}, more than twice the {before:,} of the drop before"


def _column(kind: Kind, now: Figures, before: Figures) -> Iterator[str]:
    if _is_missed(now, before):
        found = f"one value, {_only(now)}, for all" if _known(now) else "no value for any"
        yield f"{found} of {_of(now['rows'])}; of {before['rows']:,} before, {_others(before)}"
    if kind in (Kind.COUNT, Kind.NUMBER) and min(_known(now), _known(before)) >= LEAST_ROWS:
        low, high = sorted((now["median"], before["median"]))
        if low > 0 and high > MOST_FACTOR * low:
            yield (
                f"the median is {now['median']:,.6g}, before {before['median']:,.6g}, a factor of {high / low:.3g}; "
                f"{_of(now['rows'])}, {before['rows']:,} before"
            )
    # A column that was empty is new: every text in it is.
    if kind is Kind.TEXT and _known(before):
        unseen = {text: count for text, count in now["values"].items() if text not in before["values"]}
        share = sum(unseen.values()) / max(now["rows"], 1)
        if share > MOST_UNSEEN and share * before["rows"] >= EXPECTED:
            texts = ", ".join(f"{text!r} ({count:,})" for text, count in sorted(unseen.items())[:SHOWN_TEXTS])
            yield (
                f"{sum(unseen.values()):,} of {_of(now['rows'])} have a text that none of {before['rows']:,} had "
                f"before: {texts}" + (", …" if len(unseen) > SHOWN_TEXTS else "")
            )


def _is_missed(now: Figures, before: Figures) -> bool:
    """Tell whether a column used to vary and is now constant, in a drop large enough to expect variation."""
    if not (_is_constant(now) and not _is_constant(before)):
        return False
    sampled, other = _other(before)
    return other * min(1, now["rows"] / sampled) >= EXPECTED


def _is_constant(figures: Figures) -> bool:
    return len(figures["values"]) <= 1 if "values" in figures else figures["min"] == figures["max"]


def _other(figures: Figures) -> tuple[int, int]:
    """Return the number of known values, and how many differ from the most frequent one."""
    if "values" not in figures:
        return figures["sampled"], figures["other"]
    return _known(figures), _known(figures) - max(figures["values"].values(), default=0)


def _known(figures: Figures) -> int:
    return figures["rows"] - figures["nulls"]


def _only(figures: Figures) -> str:
    return repr(next(iter(figures["values"]))) if "values" in figures else f"{figures['min']}"


def _others(figures: Figures) -> str:
    sampled, other = _other(figures)
    return f"{other:,} of {sampled:,} values differed from the most frequent one"


def _of(customers: int) -> str:
    return f"{customers:,} customers"
