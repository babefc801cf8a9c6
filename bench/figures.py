"""The arithmetic of the benchmarks: summaries of repeated measurements, ratios, and formatting."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Any

Row = dict[str, Any]
MEGABYTE = 10**6


@dataclass
class Sample:
    """The repeated measurements of one step; `over` is the time limit if one exceeded it."""

    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    server_bytes: int | None = None
    over: float | None = None

    def add(self, seconds: float, peak_bytes: int | None, server_bytes: int | None) -> None:
        self.seconds.append(seconds)
        self.peak_bytes = max(self.peak_bytes, peak_bytes or 0)
        if server_bytes is not None:
            self.server_bytes = max(self.server_bytes or 0, server_bytes)

    def to_json(self) -> Row:
        """Return the minimum seconds, which other load disturbs least, the median, and the peaks."""
        kept = self.seconds if self.over is None else []
        return {
            "seconds": significant(min(kept, default=None)),
            "seconds_median": significant(median(kept) if kept else None),
            "repeats": len(kept),
            "over_seconds": self.over,
            "peak_mb": round(self.peak_bytes / MEGABYTE) if kept else None,
            "server_mb": None if self.server_bytes is None or not kept else round(self.server_bytes / MEGABYTE),
        }


def significant(value: float | None, digits: int = 3) -> float | None:
    """Return `value` rounded to `digits` significant digits."""
    return None if value is None else float(f"{value:.{digits}g}")


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    return significant(numerator / denominator) if numerator is not None and denominator else None


def total(values: Iterable[float | None]) -> float | None:
    """Return the sum, None if a value is missing or there are none."""
    known = list(values)
    return significant(sum(v for v in known if v is not None)) if known and None not in known else None


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that is at least as large as a `share` of the values."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def goal(what: str, figure: float | None, *, least: float | None = None, most: float | None = None) -> Row:
    """Return whether `figure` meets the goal; unknown if it was not measured."""
    met = None if figure is None else (least is None or figure >= least) and (most is None or figure <= most)
    return {"what": what, "figure": figure, "least": least, "most": most, "met": met}


def goal_rows(goals: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Return the goals as table rows: name, figure, goal, met."""
    return [
        (
            each["what"],
            number(each["figure"]),
            f">= {number(each['least'])}" if each["least"] is not None else f"<= {number(each['most'])}",
            "yes" if each["met"] else "NO",
        )
        for each in goals
    ]


def number(value: float | None) -> str:
    """Return three significant digits without an exponent, a dash for None."""
    if value is None:
        return "-"
    rounded = significant(value) or 0.0
    return f"{rounded:,.0f}" if abs(rounded) >= 100 or rounded == int(rounded) else f"{rounded:g}"
