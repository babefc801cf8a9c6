"""The pictures of a decision: ROC, precision and recall, calibration and scores, candidate beside Production."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from sklearn.metrics import precision_recall_curve, roc_curve

from churn import statistics
from churn.report.plotting import (
    ANCHOR,
    CANDIDATE,
    INK,
    LEFT,
    MUTED,
    PRODUCTION,
    STAYED,
    Picture,
    figure,
    style,
    to_svg,
)

POINTS = 300
"""Maximum points of a curve: closer together than the line is wide."""

BINS = 10
"""Bins of a calibration curve: about 140 rows each for a 7,000-customer drop."""

LINES: Mapping[str, dict] = {
    "candidate": {"color": CANDIDATE, "linestyle": "-", "marker": "o"},
    "Production": {"color": PRODUCTION, "linestyle": "--", "marker": "s"},
    "anchor": {"color": ANCHOR, "linestyle": ":", "marker": "^"},
}


@dataclass(frozen=True)
class Graded:
    """The scores of the gate cohort's rows by each version.

    Attributes:
        where: the rows in words.
        labels: whether the customer left, one per row.
        scores: probabilities of churn by "candidate", "Production" and "anchor", as far as they exist.
        names: display name of each, with its version.
        threshold: the candidate's decision threshold.
    """

    where: str
    labels: np.ndarray
    scores: Mapping[str, np.ndarray]
    names: Mapping[str, str]
    threshold: float

    @property
    def both_classes(self) -> bool:
        return len(np.unique(self.labels)) == 2


def draw_scores(graded: Graded) -> list[Picture]:
    """Return the pictures of the scores; the curves need both classes."""
    with style():
        curves = [_roc(graded), _precision_recall(graded)] if graded.both_classes else []
        return [*curves, _calibration(graded), _distribution(graded)] if len(graded.labels) else []


def _roc(graded: Graded) -> Picture:
    auc = statistics.auc(graded.labels, graded.scores["candidate"])
    title = "ROC: how many leavers are found for how many false alarms"
    made, axes = figure(title)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (1, 3)), label="by chance (AUC 0.500)")
    for who, scores in graded.scores.items():
        false_alarms, found, _ = roc_curve(graded.labels, scores)
        kept = thin(len(found))
        _line(axes, who, false_alarms[kept], found[kept], _named(graded, who, scores))
    said = graded.scores["candidate"] >= graded.threshold
    _point(axes, said[~graded.labels].mean(), said[graded.labels].mean(), graded.threshold)
    axes.set(xlabel="customers who stayed, said to leave (share)", ylabel="customers who left, found (share)")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.legend(loc="lower right")
    caption = (
        f"{graded.where}. AUC is the share of pairs of a leaver and another customer in which the leaver has the "
        "higher score, with its 95 % interval (DeLong); the nearer to the upper left corner, the better."
    )
    if auc is None:
        caption += " There are too few of a class for an interval."
    return Picture("roc", title, caption, to_svg(made))


def _precision_recall(graded: Graded) -> Picture:
    title = "Precision and recall: how many of those it names do leave"
    made, axes = figure(title)
    base = graded.labels.mean()
    axes.axhline(base, color=MUTED, linewidth=1, linestyle=(0, (1, 3)), label=f"by chance ({base:.3f} left)")
    for who, scores in graded.scores.items():
        precision, recall, _ = precision_recall_curve(graded.labels, scores)
        kept = thin(len(recall))
        _line(axes, who, recall[kept], precision[kept], graded.names[who])
    said = graded.scores["candidate"] >= graded.threshold
    if said.any():
        _point(axes, said[graded.labels].mean(), graded.labels[said].mean(), graded.threshold)
    axes.set(
        xlabel="recall: customers who left, found (share)", ylabel="precision: those said to leave who left (share)"
    )
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.legend(loc="upper right")
    caption = f"{graded.where}. The point is the candidate at its own threshold, {graded.threshold:.3f}."
    return Picture("precision_recall", title, caption, to_svg(made))


def _calibration(graded: Graded) -> Picture:
    title = "Calibration: does it happen as often as the model says?"
    made, (axes, counts) = figure(title, 5.0, nrows=2, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (1, 3)), label="as often as it says")
    edges = np.linspace(0, 1, BINS + 1)
    shown = [who for who in graded.scores if who != "anchor"]
    width = 0.8 / BINS / len(shown)
    for place, who in enumerate(shown):
        scores = graded.scores[who]
        bins = np.clip(np.digitize(scores, edges) - 1, 0, BINS - 1)
        rows = np.bincount(bins, minlength=BINS)
        some = rows > 0
        said = np.bincount(bins, scores, BINS)[some] / rows[some]
        left = np.bincount(bins, graded.labels, BINS)[some] / rows[some]
        low, high = wilson(left, rows[some])
        axes.errorbar(
            said, left, yerr=[left - low, high - left], label=graded.names[who], elinewidth=0.9, capsize=2,
            markersize=4, **LINES[who],
        )  # fmt: skip
        centre = edges[:-1] + 0.5 / BINS + (place - (len(shown) - 1) / 2) * width
        hatch = None if who == "candidate" else "////"
        counts.bar(centre, rows, width, facecolor=LINES[who]["color"] if not hatch else "none", hatch=hatch,
                   edgecolor=LINES[who]["color"], linewidth=0.6)  # fmt: skip
    axes.set(ylabel="customers who left (share)", ylim=(-0.02, 1.02), xlim=(-0.01, 1.01))
    axes.legend(loc="upper left")
    counts.set(xlabel="predicted probability of churn", ylabel="rows in the bin")
    caption = (
        f"{graded.where}, in {BINS} bins of equal width: the mean prediction against the share who left, with Wilson's "
        "95 % interval, which is wide where a bin has few rows."
    )
    return Picture("calibration", title, caption, to_svg(made))


def _distribution(graded: Graded) -> Picture:
    title = "Scores of the candidate, by whether the customer left"
    made, axes = figure(title)
    edges = np.linspace(0, 1, 41)
    scores, labels = graded.scores["candidate"], graded.labels
    for churned, name, look in (
        (False, "stayed", {"facecolor": STAYED, "edgecolor": "none"}),
        (True, "left", {"facecolor": "none", "edgecolor": LEFT, "linewidth": 1.6}),
    ):
        rows = np.histogram(scores[labels == churned], edges)[0]
        total = rows.sum()
        if total:
            axes.stairs(100 * rows / total, edges, fill=True, label=f"{name} ({total:,} customers)", **look)
    axes.axvline(graded.threshold, color=INK, linewidth=1.2, linestyle="--",
                 label=f"threshold {graded.threshold:.3f}")  # fmt: skip
    axes.set(xlabel="predicted probability of churn", ylabel="customers of each kind (%)", xlim=(0, 1))
    axes.legend(loc="upper right")
    named = int((scores >= graded.threshold).sum())
    caption = (
        f"{graded.where}. Each kind adds up to 100 %. From the threshold on the model says churn: of {named:,} of "
        f"{len(labels):,} customers."
    )
    return Picture("scores", title, caption, to_svg(made))


def thin(length: int, points: int = POINTS) -> np.ndarray:
    """Return the indices of at most `points` evenly spaced points, including the first and the last."""
    return np.unique(np.linspace(0, length - 1, min(length, points)).round().astype(int))


def wilson(share: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % score interval of each share of `rows` rows (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    z = 1.959964
    centre = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    reach = z / (1 + z**2 / rows) * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    return np.minimum(centre - reach, share), np.maximum(centre + reach, share)


def _line(axes: Axes, who: str, x: np.ndarray, y: np.ndarray, label: str) -> None:
    axes.plot(x, y, color=LINES[who]["color"], linestyle=LINES[who]["linestyle"], label=label)


def _point(axes: Axes, x: float, y: float, threshold: float) -> None:
    axes.plot([x], [y], "D", color=CANDIDATE, markersize=6, markeredgecolor=INK, markeredgewidth=0.8,
              label=f"candidate at its threshold {threshold:.3f}")  # fmt: skip


def _named(graded: Graded, who: str, scores: np.ndarray) -> str:
    auc = statistics.auc(graded.labels, scores)
    return graded.names[who] if auc is None else f"{graded.names[who]}: AUC {auc}"
