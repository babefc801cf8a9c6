"""64-bit hashes of customers on disk, in parts by hash: comparing millions of customers holds one part at a time."""

from pathlib import Path

import numpy as np

BITS = 6
"""The highest bits of a hash, which are the number of its part."""

PARTS = 2**BITS
"""A part of a hundred million customers takes 12.5 MB for each column."""


class Keys:
    """Rows of 64-bit hashes. The first column, a customer's, decides on the part that a row is in."""

    def __init__(self, path: Path, columns: int = 1) -> None:
        """Keep the rows in the file `path`, which does not exist yet, and which the caller removes."""
        self._path, self._columns = path, columns
        self._rows = 0
        # Of each block of added rows, which are in the order of their parts: where the parts begin, and the end.
        self._bounds: list[np.ndarray] = []

    def add(self, keys: np.ndarray) -> None:
        """Add rows, an array of uint64 of shape (rows, columns)."""
        part_of = (keys[:, 0] >> np.uint64(64 - BITS)).astype(np.uint8)
        with self._path.open("ab") as file:
            # Of small integers a stable sort is one pass. tofile() would not say why it failed, as on a full disk.
            file.write(keys[np.argsort(part_of, kind="stable")].tobytes())
        self._bounds.append(self._rows + np.concatenate([[0], np.cumsum(np.bincount(part_of, minlength=PARTS))]))
        self._rows += len(keys)

    def part(self, number: int) -> np.ndarray:
        """Return the rows of a part, 0 to PARTS - 1, as an array like those that were added."""
        found = [np.empty(0, np.uint64)]
        if self._rows:
            with self._path.open("rb") as file:
                for begin, end in (bounds[number : number + 2].tolist() for bounds in self._bounds):
                    file.seek(begin * self._columns * found[0].itemsize)
                    found.append(np.fromfile(file, np.uint64, (end - begin) * self._columns))
        return np.concatenate(found).reshape(-1, self._columns)


def count_shared(some: Keys, others: Keys) -> int:
    """Return how many customers of `some` are among `others`."""
    return sum(
        int(are_among(np.sort(some.part(number)[:, 0]), np.sort(others.part(number)[:, 0])).sum())
        for number in range(PARTS)
    )


def are_among(keys: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return for each of `keys` whether it is in `ordered`; sorted keys are found many times faster."""
    if not len(ordered):
        return np.zeros(len(keys), bool)
    # A sorted search is faster than numpy's isin and unique, which build hash tables.
    return ordered.take(np.searchsorted(ordered, keys), mode="clip") == keys
