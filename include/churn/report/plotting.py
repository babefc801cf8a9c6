"""Style of the pictures: reproducible SVG, with colours that a page can replace.

The palette is safe for colour-blind readers (Okabe and Ito, Color Universal Design, 2008). Lines also differ in dashes
and bars in filling.
"""

import io
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

PAPER, INK, MUTED, GRID = "#ffffff", "#1f2328", "#656d76", "#d8dee4"
CANDIDATE, PRODUCTION, ANCHOR, STAYED, LEFT = "#0072b2", "#d55e00", "#009e73", "#8fc6e0", "#882255"

DARK = {
    PAPER: "#0d1117",
    INK: "#e6edf3",
    MUTED: "#9aa4af",
    GRID: "#30363d",
    CANDIDATE: "#56b4e9",
    PRODUCTION: "#f08a3c",
    ANCHOR: "#2fc7a0",
    STAYED: "#2f6f8f",
    LEFT: "#f49ac1",
}
"""Replacement of each colour on a dark page."""

WIDTH = 6.4
"""Width in inches: half a page."""

STYLE: Any = {
    # Text instead of paths: smaller and searchable. The layout uses a wide font, so narrower fonts fit too.
    "svg.fonttype": "none",
    "svg.hashsalt": "churn",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    # Names come from data: a $ must not start a formula.
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "figure.facecolor": PAPER,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True)
class Picture:
    """A picture: file name, title, caption and SVG."""

    name: str
    title: str
    caption: str
    svg: str

    @property
    def inline(self) -> str:
        """The SVG for embedding: colours are CSS variables, and ids are unique on the page."""
        svg = self.svg[self.svg.index("<svg") :]
        for colour in DARK:
            svg = svg.replace(colour, f"var({variable(colour)},{colour})")
        svg = re.sub(r'\bid="', f'id="{self.name}-', svg)
        svg = re.sub(r'(url\(#|xlink:href="#)', rf"\g<1>{self.name}-", svg)
        # Without a fixed size it fills its container.
        return re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r'<svg \1role="img"', svg, count=1, flags=re.S)


def variable(colour: str) -> str:
    """Return the name of the CSS variable for a colour."""
    return f"--c{colour[1:]}"


@contextmanager
def style() -> Iterator[None]:
    """Apply the project's style to figures made and drawn inside the context."""
    with matplotlib.rc_context(STYLE):
        yield


def figure(title: str, height: float = 4.2, **subplots: Any) -> tuple[Figure, Any]:
    """Return a figure with its title, and its axes."""
    made = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = made.subplots(**subplots)
    first: Axes = axes if isinstance(axes, Axes) else axes[0]
    first.set_title(textwrap.fill(title, 68))
    return made, axes


def to_svg(made: Figure) -> str:
    """Return a figure as SVG without a timestamp."""
    file = io.StringIO()
    FigureCanvasSVG(made).print_svg(file, metadata={"Date": None, "Creator": None})
    return file.getvalue()
