"""The rule of drift: which columns of a night are flagged, and why.

A column is flagged where an effect reaches its limit and its test survives Benjamini and Hochberg's correction over all
columns and references of the night. The test alone is no reason: at 65,536 rows it finds a shift of 0.02 standard
deviations. The effect alone is none either: few rows give large effects by chance. `make bench ARGS=drift` simulates
both errors.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from scipy.stats import false_discovery_control

from churn.drift.comparison import DRIFT, NEW, NULLS, Answer, compare, unusual
from churn.drift.distribution import Distribution, distribution_of
from churn.drift.reference import Profile, Profiles, count_on
from churn.drops.holds.rules import EXPECTED

VERSION, BEFORE, WEEK_BEFORE = "version", "before", "week before"
"""The references: what the version was trained on, the AS_OF before, and a recent AS_OF of the same weekday."""

CONSTANT, TOO_FEW, NONE = "constant", "too few rows", "none"
ORDER = (CONSTANT, NEW, NULLS, DRIFT)
"""A column has one finding for each reference, the first of these."""

EFFECT = 0.10
"""Limit between different weekdays. A weekly cycle of ± 0.1 standard deviations gives up to 0.04 by itself, and 0.09 in
samples of LEAST_ROWS. It finds a shift of a third of a standard deviation."""

EFFECT_SAME_WEEKDAY = 0.05
"""Limit between the same weekdays, where the weekly cycle is equal: it finds a shift of 0.25 (PSI 0.06)."""

FALSE_DISCOVERIES = 0.01
"""Expected share of wrong ones among the differences of a night that are significant."""

LEAST_ROWS = 1_000
"""On both sides. With 500, the weekly cycle alone flags 3 % of the nights between different weekdays."""

SHOWN = 3
"""New categories that the words name."""


@dataclass(frozen=True)
class Reference:
    """What a night is held against.

    Attributes:
        name: VERSION, BEFORE or WEEK_BEFORE.
        as_of: the AS_OF of BEFORE and WEEK_BEFORE.
    """

    name: str
    profiles: Profiles
    as_of: date | None = None

    @property
    def limit(self) -> float:
        return EFFECT_SAME_WEEKDAY if self.name == WEEK_BEFORE else EFFECT

    def __str__(self) -> str:
        return f"{self.as_of}" if self.as_of else "its training data"


@dataclass(frozen=True)
class Finding:
    """The comparison of a column with a reference: a row of drift.columns.

    Attributes:
        finding: one of ORDER, TOO_FEW, or NONE.
        answer: to the question of the finding; with NONE that of the largest effect, with CONSTANT and TOO_FEW None.
        detail: the figures in words.
        distribution: of a flagged column.
    """

    reference: Reference
    column: str
    rows: int
    reference_rows: int
    finding: str
    answer: Answer | None
    detail: str
    distribution: Distribution | None

    @property
    def flagged(self) -> bool:
        return self.finding in ORDER


def judge(columns: Mapping[str, pa.ChunkedArray | pa.Array], references: Sequence[Reference]) -> list[Finding]:
    """Return the findings of a night, for each reference and each of its columns that the night has."""
    pairs = [
        (each, name, count_on(columns[name], profile), profile)
        for each in references
        for name, profile in each.profiles.items()
        if name in columns
    ]
    answers = [[*compare(now, then)] if min(now.rows, then.rows) >= LEAST_ROWS else [] for _, _, now, then in pairs]
    p_values = [answer.p_value for each in answers for answer in each]
    corrected = iter(false_discovery_control(p_values) if p_values else ())
    findings = []
    for (reference, name, now, then), asked in zip(pairs, answers, strict=True):
        survive = [answer for answer in asked if next(corrected) <= FALSE_DISCOVERIES]
        large = {answer.question: answer for answer in survive if answer.effect >= reference.limit}
        kind = _kind(now, then, asked, large)
        answer = large[kind] if kind in large else max(asked, key=lambda each: each.effect, default=None)
        answer = None if kind in (CONSTANT, TOO_FEW) else answer
        detail = " ".join(_words(kind, answer, now, then, reference))
        distribution = distribution_of(now, then) if kind in ORDER else None
        findings.append(Finding(reference, name, now.rows, then.rows, kind, answer, detail, distribution))
    return findings


def _kind(now: Profile, then: Profile, asked: Sequence[Answer], large: Collection[str]) -> str:
    if not asked:
        return TOO_FEW
    if _is_missed(now, then):
        return CONSTANT
    return next((each for each in ORDER if each in large), NONE)


def _is_missed(now: Profile, then: Profile) -> bool:
    """Tell whether a column that varied is constant or empty, with too many rows for that to be chance."""
    return now.is_constant and then.varied / max(then.known, 1) * now.rows >= EXPECTED


def _words(kind: str, answer: Answer | None, now: Profile, then: Profile, reference: Reference) -> Iterator[str]:
    if answer is None:
        if kind == TOO_FEW:
            yield f"{now.rows:,} rows against {then.rows:,} of {reference}: {LEAST_ROWS:,} are needed on both sides"
        else:
            yield f"{'one value for all' if now.known else 'no value for any'} of {now.rows:,} rows;"
            yield f"{then.varied / then.known:.1%} of {reference} varied"
        return
    if kind == NEW:
        values = unusual(now, then)
        shown = sorted(values, key=lambda value: (-values[value], value))[:SHOWN]
        more = " and others" if len(values) > SHOWN else ""
        yield f"{sum(values.values()) / now.known:.1%} are {' or '.join(map(repr, shown))}{more},"
        yield f"rare or unknown in {reference};"
    elif kind == NULLS:
        yield f"{now.nulls / now.rows:.1%} are empty, {then.nulls / then.rows:.1%} of {reference};"
    else:
        yield f"against {reference}:"
    yield f"PSI {answer.effect:.3f}, limit {reference.limit:g}; {answer.test} p = {answer.p_value:.2g}"
    yield f"({now.rows:,} rows against {then.rows:,})"
