"""The plot of the steps."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from bench.comparison import SIDES, STEPS
from bench.figures import Row

COLORS = {"naive": "#c1440e", "ours": "#1f6f8b", "limit": "#8a8a8a"}


def plot_steps(directory: Path, result: Row) -> Path:
    """Plot seconds over customers on logarithmic axes, one panel per step, and return the file."""
    # These two make equal figures give equal files.
    matplotlib.rcParams["svg.hashsalt"] = "bench"
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, step in zip(figure.subplots(1, len(STEPS), sharey=True), STEPS, strict=True):
        for side in SIDES:
            points = [
                (row["customers"], row["seconds"])
                for row in result["measurements"]
                if (row["side"], row["step"]) == (side, step) and row["seconds"]
            ]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", label=side, color=COLORS[side])
        axes.set(title=step, xscale="log", yscale="log", xlabel="customers")
        axes.grid(visible=True, which="major", alpha=0.3)
    figure.axes[0].set_ylabel("seconds")
    figure.axes[0].legend(frameon=False)
    path = directory / "steps.svg"
    figure.savefig(path, metadata={"Date": None})
    return path
