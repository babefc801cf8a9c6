"""The profile of a column: its counts on frozen bins.

A reference has bins of its own. The same column of another date is counted on these bins, so that both can be compared
without the values. A profile holds no customer, and is JSON.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BINS = 10
"""Bins of a reference with as many rows each: the usual number for PSI, and few enough for 1,000 rows."""

JUST_BELOW = 1e-9
"""Distance, relative to the value, of the edge below a value that has a bin of its own."""


@dataclass(frozen=True)
class Profile:
    """The counts of a column.

    Attributes:
        bins: of numbers the upper edges of all bins but the last, ascending; of texts and booleans the values.
        counts: rows in each bin; of numbers one more than `bins`.
        elsewhere: {value: rows} of texts and booleans that are in none of the bins.
        nulls: rows without a value.
        is_constant: all values are equal, or there are none.
    """

    is_ordered: bool
    bins: tuple[float | str, ...]
    counts: tuple[int, ...]
    elsewhere: Mapping[str, int]
    nulls: int
    is_constant: bool

    @property
    def known(self) -> int:
        """Rows with a value."""
        return sum(self.counts) + sum(self.elsewhere.values())

    @property
    def rows(self) -> int:
        return self.known + self.nulls

    @property
    def varied(self) -> int:
        """Rows outside the fullest bin. A frequent value has a bin of its own: these rows differ from it."""
        return self.known - max(self.counts, default=0)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(said: Mapping[str, Any]) -> "Profile":
        return Profile(**{**said, "bins": tuple(said["bins"]), "counts": tuple(said["counts"])})


Profiles = Mapping[str, Profile]
"""{column: profile}."""


def profile_of(values: pa.Array | pa.ChunkedArray) -> Profile:
    """Return the profile of a column on bins of its own: that of a reference."""
    if _is_ordered(values.type):
        return _count_numbers(values, _edges(_numbers(values)))
    return _count_values(values, sorted(_counted(values)))


def profiles_of(columns: Mapping[str, pa.ChunkedArray]) -> Profiles:
    """Return the profiles of a reference."""
    return {name: profile_of(values) for name, values in columns.items()}


def count_on(values: pa.Array | pa.ChunkedArray, reference: Profile) -> Profile:
    """Return the profile of a column on the bins of a reference."""
    if reference.is_ordered:
        return _count_numbers(values, np.array(reference.bins, dtype=float))
    return _count_values(values, reference.bins)


def _is_ordered(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _numbers(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return np.asarray(values.drop_null().to_numpy(), dtype=float)


def _edges(known: np.ndarray) -> np.ndarray:
    """Return the edges of BINS bins at quantiles. A value of as many rows as a bin has one of its own."""
    if not len(known):
        return np.empty(0)
    edges = np.quantile(known, np.arange(1, BINS) / BINS, method="inverted_cdf")
    found, times = np.unique(known, return_counts=True)
    heavy = found[times >= len(known) / BINS]
    return np.unique(np.concatenate([edges, heavy, heavy - JUST_BELOW * np.maximum(1, np.abs(heavy))]))


def _count_numbers(values: pa.Array | pa.ChunkedArray, edges: np.ndarray) -> Profile:
    known = _numbers(values)
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    is_constant = not len(known) or bool(known.min() == known.max())
    return Profile(True, tuple(edges.tolist()), tuple(counts.tolist()), {}, values.null_count, is_constant)


def _counted(values: pa.Array | pa.ChunkedArray) -> Counter[str]:
    counted = pc.value_counts(values.drop_null().cast(pa.string()))
    return Counter(dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)))


def _count_values(values: pa.Array | pa.ChunkedArray, bins: Iterable[float | str]) -> Profile:
    found, names = _counted(values), tuple(str(each) for each in bins)
    elsewhere = {value: count for value, count in sorted(found.items()) if value not in names}
    counts = tuple(found[name] for name in names)
    return Profile(False, names, counts, elsewhere, values.null_count, len(found) <= 1)
