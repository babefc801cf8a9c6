"""The rules of holding: what a person must accept of a drop, because it is unlike the one before.

A drop that obeys the contract may still be in another unit, in other words, or of another population. It is compared
with the nearest earlier drop that is loaded. A false hold stops the chain, so each rule is far from what a drop does by
chance: `make bench ARGS=holds` counts false holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from churn.drops.contract import REQUIRED_FILES, USER_ID, USERS, Kind
from churn.drops.holds.profile import Figures, Profile, customers_of

LEAST_SHARE = 0.5
"""A drop with fewer of the ids before is more likely cut off, or written with other ids, than true."""
MOST_TIMES = 2
"""Nor does a business double from one drop to the next."""
MOST_FACTOR = 5
"""Of a median. Euros in cents are a factor of 100, minutes in hours 60, 30 days in place of 7 about 4."""
LEAST_ROWS = 200
"""Values that a median must be of, before and now: of fewer it moves by chance."""
MOST_UNSEEN = 0.05
"""Share of customers with a text that the drop before had not: a new tariff begins with fewer."""
EXPECTED = 10
"""A value is missed only where as many customers would be expected to have it: that none has is then chance once in
e^10, about 22,000. At LEAST_ROWS it asks no more of texts than MOST_UNSEEN does."""
SHOWN_TEXTS = 5


@dataclass(frozen=True)
class Look:
    """What is compared of a drop: the sha256 of each of its files, and its profile."""

    sha256: Mapping[str, str]
    profile: Profile


def compare(now: Look, before: Look, shared: int) -> list[str]:
    """Return what a person must accept of a drop beside the one before, a sentence each.

    Args:
        shared: how many ids of the drop before are in this one.
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
    if kind is Kind.TEXT:
        unseen = {text: count for text, count in now["values"].items() if text not in before["values"]}
        share = sum(unseen.values()) / max(now["rows"], 1)
        if share > MOST_UNSEEN and share * before["rows"] >= EXPECTED:
            texts = ", ".join(f"{text!r} ({count:,})" for text, count in sorted(unseen.items())[:SHOWN_TEXTS])
            yield (
                f"{sum(unseen.values()):,} of {_of(now['rows'])} have a text that none of {before['rows']:,} had "
                f"before: {texts}" + (", …" if len(unseen) > SHOWN_TEXTS else "")
            )


def _is_missed(now: Figures, before: Figures) -> bool:
    """Tell whether a column varied and does not any more, in a drop where values that vary would be expected."""
    if not (_is_constant(now) and not _is_constant(before)):
        return False
    sampled, other = _other(before)
    return other * min(1, now["rows"] / sampled) >= EXPECTED


def _is_constant(figures: Figures) -> bool:
    return len(figures["values"]) <= 1 if "values" in figures else figures["min"] == figures["max"]


def _other(figures: Figures) -> tuple[int, int]:
    """Return of how many values how many are other than the most frequent one."""
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
