"""The profile of a drop: figures per column that the next drop is compared with.

Profiles do not depend on how a file is split into blocks. Memory is bounded by constants.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn.drops.contract import REQUIRED_FILES, USER_ID, Column, File, Kind
from churn.drops.tables import Rows

Figures = Mapping[str, Any]
Profile = Mapping[str, Mapping[str, Figures]]
"""{file: {column: figures}} of the required files, as JSON. Every column has `rows` and `nulls`. Texts and booleans
have `values` ({value: customers}). Numbers and dates have `min` and `max`, and from a sample its size `sampled`,
its `median`, and `other`, the number of values that differ from the most frequent one."""

MOST_KINDS = 100
"""Limit of distinct texts of a column other than user_id. Models one-hot encode them and the gate judges slices by
them: a distinct text for each of a million customers would need a terabyte."""

SAMPLE = 2**16
"""Sample size for medians. Up to this size they are exact; beyond it their rank is right to about 1 %."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio: its multiples are evenly spread and follow no period of the file."""


class Profiler:
    """Builds the profile of a drop from its rows, file by file."""

    def __init__(self) -> None:
        self._columns: dict[str, dict[str, _Counted | _Measured]] = {
            file.name: {column.name: _gatherer(column) for column in file.columns if column is not USER_ID}
            for file in REQUIRED_FILES
        }

    def read(self, file: File, rows: Iterator[Rows]) -> Iterator[Rows]:
        """Pass the rows of a file through and add them to the profile."""
        columns = self._columns.get(file.name, {})
        for each in rows:
            for name, column in columns.items():
                column.add(each.table[name].combine_chunks())
            yield each

    def too_many_kinds(self, file: File) -> list[str]:
        """Return the columns of a file with more than MOST_KINDS distinct texts."""
        columns = self._columns.get(file.name, {})
        return [name for name, column in columns.items() if isinstance(column, _Counted) and column.is_full]

    def profile(self) -> Profile:
        """Return the profile of the rows read so far."""
        return {
            file: {name: each.figures() for name, each in columns.items()} for file, columns in self._columns.items()
        }


def customers_of(profile: Profile) -> int:
    """Return the number of customers of a drop."""
    return next(iter(profile[REQUIRED_FILES[0].name].values()))["rows"]


class _Counted:
    """Counts customers per value, until there are more than MOST_KINDS values."""

    def __init__(self) -> None:
        self._rows = self._nulls = 0
        self._counts: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        return len(self._counts) > MOST_KINDS

    def add(self, values: pa.Array) -> None:
        self._rows += len(values)
        self._nulls += values.null_count
        if not self.is_full:
            counted = pc.value_counts(values.drop_null())
            for value, count in zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True):
                self._counts[str(value)] += count

    def figures(self) -> Figures:
        return {"rows": self._rows, "nulls": self._nulls, "values": dict(sorted(self._counts.items()))}


class _Measured:
    """Minimum, maximum, and a bounded sample that does not depend on the order of blocks."""

    def __init__(self, is_date: bool) -> None:
        self._is_date = is_date
        self._rows = self._nulls = 0
        self._least: Any = None
        self._most: Any = None
        self._keys = np.empty(0, np.uint64)
        self._values = np.empty(0)
        self._limit = 2**64

    def add(self, values: pa.Array) -> None:
        seen = self._rows - self._nulls
        self._rows += len(values)
        self._nulls += values.null_count
        known = values.drop_null()
        if not len(known):
            return
        ends = pc.min_max(known)
        self._least = min(each for each in (self._least, ends["min"].as_py()) if each is not None)
        self._most = max(each for each in (self._most, ends["max"].as_py()) if each is not None)
        keys = np.arange(seen, seen + len(known), dtype=np.uint64) * _SPREAD
        numbers = (known.cast(pa.int32()) if self._is_date else known).to_numpy().astype(np.float64)
        self._keys, self._values = np.append(self._keys, keys), np.append(self._values, numbers)
        self._thin()
        while len(self._keys) > SAMPLE:
            self._limit //= 2
            self._thin()

    def _thin(self) -> None:
        kept = self._keys <= np.uint64(self._limit - 1)
        self._keys, self._values = self._keys[kept], self._values[kept]

    def figures(self) -> Figures:
        found = {"rows": self._rows, "nulls": self._nulls, "min": self._least, "max": self._most}
        if self._is_date:
            found |= {end: found[end] and found[end].isoformat() for end in ("min", "max")}
        counts = np.unique(self._values, return_counts=True)[1]
        return {
            **found,
            "sampled": len(self._values),
            "median": float(np.median(self._values)) if len(self._values) else None,
            "other": int(counts.sum() - counts.max(initial=0)),
        }


def _gatherer(column: Column) -> _Counted | _Measured:
    if column.kind in (Kind.TEXT, Kind.BOOLEAN):
        return _Counted()
    return _Measured(column.kind is Kind.DATE)
