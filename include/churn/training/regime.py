"""Regime change: from which of the labelled dates on does the past say something about the future?

For each date, one recipe is graded twice on its customers: forward in time, learned from the dates before, and in time,
learned from the date itself. Both are out of fold by customer, outside both cohorts. Where the first is no better than
chance and the second is, the relation between features and churn changed, and earlier dates would only mislead.

The recipe is a fixed logistic regression: nothing is selected, so neither figure flatters, and six fits take about a
second. Each AS_OF judges its dates anew from the data, and never by tags.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any

import numpy as np

from churn import statistics
from churn.scoring.scorer import score
from churn.statistics import FLOOR, Estimate
from churn.training.recipe import Parameters, Recipe, Rows, assign_folds, fit
from churn.training.selection import at_most, run_at_once

RECIPE = Recipe("logistic regression", {"C": 0.1})

REGIME_CHANGE = "regime_change"
"""The tag of a version that learned from its grading date alone, because the relation changed there."""

CONFIDENCE = 0.995
"""One-sided, of the paired difference. As both figures are held against the floor too, fewer than one date in a hundred
without a change is called changed (docs/gate.md has the simulation)."""

SWAPPED = 0.05
"""If True stands for False, the forward AUC is 1 less the one of before: that far below the AUC in time, or less, is
taken for it."""


@dataclass(frozen=True)
class Judged:
    """A date held against the dates before it since the last change.

    Attributes:
        forward: AUC on its customers of models that learned from the earlier dates.
        in_time: AUC of models that learned from other customers of the date.
        difference: in_time - forward, paired.
    """

    day: date
    forward: Estimate
    in_time: Estimate
    difference: Estimate

    @property
    def changed(self) -> bool:
        """The earlier dates say nothing about this one, which says something about itself."""
        return (
            self.forward.interval()[1] < FLOOR < self.in_time.interval()[0]
            and self.difference.lower_bound(CONFIDENCE) > 0
        )

    @property
    def swapped(self) -> bool:
        """Changed, and the earlier models say the opposite about as well: the labels look swapped."""
        backwards = self.forward.interval()[1] < 0.5
        return self.changed and backwards and 1 - self.forward.value >= self.in_time.value - SWAPPED

    def __str__(self) -> str:
        said = (
            f"the dates before say nothing about {self.day}: AUC {self.forward} forward in time, {self.in_time} in time"
        )
        if self.swapped:
            said += "; read backwards they do about as well: in its labels, True and False look swapped"
        return said

    def to_tag(self) -> str:
        """Return the value of the tag REGIME_CHANGE: each figure with its standard error, as JSON."""
        return json.dumps({name: [each.value, each.error] for name, each in vars(self).items() if name != "day"})


def judged_of(tags: Mapping[str, str]) -> Judged | None:
    """Return the change that a version was trained after, None of a version without the tag, or with an odd one."""
    try:
        said = json.loads(tags[REGIME_CHANGE])
        figures = {name: Estimate(float(value), float(error)) for name, (value, error) in said.items()}
        return Judged(day=date.fromisoformat(tags["graded_on"]), **figures)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def judge_dates(rows: Rows, days: np.ndarray, types: Mapping[str, Any], parameters: Parameters) -> list[Judged]:
    """Judge each date after the first, oldest first, by the dates that learned_dates() leaves before it.

    A date is not judged if it, or the dates before it, have too few customers of a class.

    Args:
        days: the date of each row, datetime64[D].
    """
    kept = at_most(rows, parameters)
    rows, days = rows.take(kept), days[kept]
    found: list[Judged] = []
    dates = np.unique(days)
    for place, day in enumerate(dates[1:], 1):
        before = learned_dates(dates[:place].tolist(), found, later=True)
        window = np.isin(days, np.array([*before, day], dtype=days.dtype))
        if judged := _judge(rows.take(window), days[window] == day, day.item(), types, parameters):
            found.append(judged)
    return found


def learned_dates(dates: Sequence[date], judged: Sequence[Judged], *, later: bool = False) -> list[date]:
    """Return those of the labelled dates that a candidate learns from: the dates since the newest change. Dates whose
    labels look swapped are left out, but for the newest.

    Args:
        dates: oldest first.
        later: for a date after them, to which the newest is one like the others.
    """
    said = {each.day: each for each in judged}
    newest = said.get(dates[-1])
    if newest and newest.swapped and not later:
        return [newest.day]
    begin = max((each.day for each in judged if each.changed and not each.swapped), default=dates[0])
    return [day for day in dates if day >= begin and not (day in said and said[day].swapped)]


def _judge(rows: Rows, own: np.ndarray, day: date, types: Mapping[str, Any], parameters: Parameters) -> Judged | None:
    """Judge a date, given its rows (mask `own`) and those of the dates before it.

    Both models of a fold learn from as many rows, or few earlier ones would pass for a change.
    """
    rows = replace(rows, newest=own)
    if not rows.forward_in_time(parameters):
        return None
    fold = assign_folds(rows.labels, rows.users, parameters)

    drawn = np.random.default_rng(parameters.random_state).random(len(rows))

    def score_fold(learned: np.ndarray, k: int) -> np.ndarray:
        share = min(1.0, np.sum(~learned & (fold != k)) / np.sum(learned & (fold != k)))
        pipeline = fit(RECIPE, rows.take(learned & (fold != k) & (drawn < share)), types, parameters)
        return score(pipeline, rows.features[own & (fold == k)])

    jobs = [(learned, k) for learned in (~own, own) for k in range(parameters.folds)]
    scores = run_at_once([partial(score_fold, *job) for job in jobs], rows.bytes)
    labels, fold_of_own = rows.labels[own], fold[own]
    forward, in_time = np.empty(len(labels)), np.empty(len(labels))
    for k in range(parameters.folds):
        forward[fold_of_own == k], in_time[fold_of_own == k] = scores[k], scores[parameters.folds + k]
    aucs = statistics.paired_aucs(labels, in_time, forward)
    return Judged(day, aucs[1], aucs[0], aucs[2]) if aucs else None
