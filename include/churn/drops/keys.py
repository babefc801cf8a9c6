"""64-bit hashes of customers on disk, in parts by hash: comparing millions of customers holds one part at a time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

BITS = 4
"""The highest bits of a hash, which are the number of its part."""

PARTS = 2**BITS
"""A part of a hundred million customers takes 50 MB for each column."""


class Keys:
    """Rows of 64-bit hashes. The first column, a customer's, decides on the part that a row is in."""

    def __init__(self, directory: Path, columns: int = 1) -> None:
        """Keep the rows in `directory`, which is made, and which the caller removes."""
        directory.mkdir()
        self._directory, self._columns = directory, columns

    def add(self, keys: np.ndarray) -> None:
        """Add rows, an array of uint64 of shape (rows, columns)."""
        part_of = (keys[:, 0] >> np.uint64(64 - BITS)).astype(np.uint8)
        # Of small integers a stable sort is one pass.
        ordered = keys[np.argsort(part_of, kind="stable")]
        ends = np.cumsum(np.bincount(part_of, minlength=PARTS))
        for part, rows in enumerate(np.split(ordered, ends[:-1])):
            if len(rows):
                with self._path(part).open("ab") as file:
                    rows.tofile(file)

    def parts(self) -> Iterator[np.ndarray]:
        """Yield the rows of each part, in the order of the parts; PARTS arrays like those that were added."""
        for part in range(PARTS):
            path = self._path(part)
            keys = np.fromfile(path, np.uint64) if path.exists() else np.empty(0, np.uint64)
            yield keys.reshape(-1, self._columns)

    def _path(self, part: int) -> Path:
        return self._directory / str(part)


def count_shared(some: Keys, others: Keys) -> int:
    """Return how many customers of `some` are among `others`."""
    return sum(
        int(are_among(np.sort(mine[:, 0]), np.sort(theirs[:, 0])).sum())
        for mine, theirs in zip(some.parts(), others.parts(), strict=True)
    )


def are_among(keys: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return for each of `keys` whether it is in `ordered`; sorted keys are found many times faster."""
    if not len(ordered):
        return np.zeros(len(keys), bool)
    # A sorted search is faster than numpy's isin and unique, which build hash tables.
    return ordered.take(np.searchsorted(ordered, keys), mode="clip") == keys
