"""The pictures of the gate's checks: differences of AUC against the margin, slices, and feature importance."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from churn.report.importance import Importance
from churn.report.plotting import CANDIDATE, INK, LEFT, MUTED, PRODUCTION, Picture, figure, style, to_svg
from churn.statistics import Estimate


def draw_differences(against: Mapping[str, Estimate], margin: float, confidence: float, where: str) -> Picture:
    """Draw AUC of the candidate - AUC of each other version, and the accepted loss `margin`.

    Args:
        against: the difference to each other version, by name.
        margin: δ, a positive AUC.
        confidence: of the gate's one-sided bound.
        where: the rows in words.
    """
    title = "What the candidate gains or loses in AUC"
    with style():
        made, axes = figure(title, 1.6 + 0.6 * len(against))
        _lines(axes, margin)
        for place, (_, difference) in enumerate(against.items()):
            low, high = difference.interval()
            axes.errorbar([difference.value], [place], xerr=[[difference.value - low], [high - difference.value]],
                          fmt="o", color=CANDIDATE, capsize=4, markersize=6)  # fmt: skip
            axes.plot([difference.lower_bound(confidence)], [place], "|", color=INK, markersize=16, markeredgewidth=1.6,
                      label=f"one-sided {confidence:.0%} lower bound" if place == 0 else None)  # fmt: skip
            axes.annotate(f"{difference.value:+.4f}  ({low:+.4f} to {high:+.4f})", (difference.value, place),
                          xytext=(0, 11), textcoords="offset points", ha="center")  # fmt: skip
        _rows(axes, [f"against\n{name}" for name in against])
        axes.set_xlabel("AUC of the candidate - AUC of the other")
        made.legend(loc="outside lower left", ncols=2)
        caption = (
            f"{where}; paired differences with their 95 % interval (DeLong). The candidate is not worse when the "
            f"one-sided lower bound lies right of the margin -{margin:g}."
        )
        return Picture("auc_difference", title, caption, to_svg(made))


def draw_slices(slices: Sequence[Mapping[str, Any]], margin: float, where: str) -> Picture | None:
    """Draw the difference of AUC in each slice, and the accepted loss `margin`; None without slices."""
    shown = [each for each in slices if each["difference"]]
    if not shown:
        return None
    harmed = [each["name"] for each in shown if each["harmed"]]
    title = f"Slices: harmed {', '.join(harmed)}" if harmed else "Slices: AUC against Production, nobody harmed"
    with style():
        made, axes = figure(title, 1.5 + 0.36 * len(shown))
        _lines(axes, margin)
        for place, each in enumerate(shown):
            value, low, high = (each["difference"][key] for key in ("value", "low", "high"))
            look: dict[str, Any] = {"color": CANDIDATE, "fmt": "o", "markersize": 6}
            if each["harmed"]:
                look = {"color": PRODUCTION, "fmt": "X", "markersize": 9}
                axes.annotate("harmed", (high, place), xytext=(6, 0), textcoords="offset points", va="center",
                              color=PRODUCTION, weight="bold")  # fmt: skip
            axes.errorbar([value], [place], xerr=[[value - low], [high - value]], capsize=3, **look)
        _rows(axes, [f"{each['name']}\n{each['rows']:,} rows, {each['churned']:,} left" for each in shown], size=8)
        axes.set_xlabel("AUC of the candidate - AUC of Production")
        made.legend(loc="outside lower left")
        caption = (
            f"{where}, by kind of customer, with 95 % intervals, each by itself. Harmed is a slice whose loss is "
            f"significantly more than {margin:g} after Holm's correction for looking at so many."
        )
        return Picture("slices", title, caption, to_svg(made))


def draw_importance(importance: Importance, where: str) -> Picture:
    """Draw the AUC that the registered model loses when a feature is shuffled."""
    order = sorted(range(len(importance.features)), key=lambda index: importance.mean[index])
    title = f"What the model looks at: most of all {importance.features[order[-1]]}"
    with style():
        made, axes = figure(title, 1.4 + 0.24 * len(order))
        axes.barh(range(len(order)), [importance.mean[index] for index in order], 0.62, color=CANDIDATE,
                  xerr=[importance.spread[index] for index in order],
                  error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2.5})  # fmt: skip
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_yticks(range(len(order)), [importance.features[index] for index in order])
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("AUC lost when the feature is shuffled")
        caption = (
            f"The model that ships, on {importance.rows:,} rows of {where}: its AUC there is {importance.auc:.3f}; "
            f"each feature shuffled {importance.repeats} times, with the standard deviation. Of two features that say "
            "the same, either is hardly missed."
        )
        return Picture("importance", title, caption, to_svg(made))


def _lines(axes: Axes, margin: float) -> None:
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.axvline(-margin, color=LEFT, linewidth=1.4, linestyle="--", label=f"margin -{margin:g}")


def _rows(axes: Axes, names: Sequence[str], size: float = 9) -> None:
    """Name the rows, the first on top."""
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
