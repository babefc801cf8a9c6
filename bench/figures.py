"""The arithmetic of the benchmarks: summaries of repeated measurements, ratios, and formatting."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
MEGABYTE = 10**6
SIDES = ("naive", "ours", "limit")


def significant(value: float | None, digits: int = 3) -> float | None:
    """Return `value` rounded to `digits` significant digits."""
    return None if value is None else float(f"{value:.{digits}g}")


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    return significant(numerator / denominator) if numerator is not None and denominator else None


def total(values: Iterable[float | None]) -> float | None:
    """Return the sum, None if a value is missing or there are none."""
    known = list(values)
    return significant(sum(v for v in known if v is not None)) if known and None not in known else None


def milliseconds(seconds: Sequence[float], *percentiles: float) -> Row:
    """Return percentiles in milliseconds, each the smallest value that this share does not exceed."""
    if not seconds:
        return {}
    found = np.percentile(seconds, percentiles, method="inverted_cdf")
    return {f"p{name:g} ms": significant(1000 * each) for name, each in zip(percentiles, found, strict=True)}


def side_by_side(found: Mapping[str, Row]) -> Row:
    """Return the figures of each side as one row, with the ratios of the first figure. A side may be missing."""
    names = [*found["ours"]]

    def of(side: str, name: str) -> Any:
        return found.get(side, {}).get(name)

    return {
        **{f"{side} {names[0]}": of(side, names[0]) for side in SIDES},
        "naive / ours": ratio(of("naive", names[0]), of("ours", names[0])),
        "ours / limit": ratio(of("ours", names[0]), of("limit", names[0])),
        **{f"{side} {name}": of(side, name) for name in names[1:] for side in SIDES},
    }


def number(value: float | None) -> str:
    """Return three significant digits without an exponent, a dash for None."""
    if value is None:
        return "-"
    rounded = significant(value) or 0.0
    return f"{rounded:,.0f}" if abs(rounded) >= 100 or rounded == int(rounded) else f"{rounded:g}"
