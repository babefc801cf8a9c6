"""Tombstones: keyed hashes of the customers who were erased. A drop that brings one back is read without them.

The key is a file in CHURN_ERASURE_DIR, outside the database and its backups: whoever has only the hashes cannot try
out ids.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn.drops.contract import RULES, USER_ID, File
from churn.drops.tables import read_rows
from churn.drops.violations import Violations
from churn.postgres.database import Connection, execute
from churn.settings import SettingError, erasure_directory

KEY = "key"
"""The file in CHURN_ERASURE_DIR that holds the key."""

BLOCK_BYTES = 2**23

AreErased = Callable[[pa.Array], np.ndarray]
"""Tells of each user_id (text, may be NULL) whether the customer was erased."""


class KeyMissing(SettingError):
    """There are tombstones, and their key is not in CHURN_ERASURE_DIR."""


@dataclass(frozen=True)
class Tombstones:
    """The hashes of all erased customers, and their key; empty if nobody was erased."""

    key: bytes
    hashes: frozenset[bytes]

    def __bool__(self) -> bool:
        return bool(self.hashes)

    def are_erased(self, ids: pa.Array) -> np.ndarray:
        """Return a boolean for each id; False for NULL."""
        return np.fromiter(
            (each is not None and hash_of(each, self.key) in self.hashes for each in ids.to_pylist()), bool, len(ids)
        )


def hash_of(user_id: str, key: bytes) -> bytes:
    """Return the keyed hash of a customer, 32 bytes (BLAKE2b as a MAC, RFC 7693)."""
    return hashlib.blake2b(user_id.encode(), digest_size=32, key=key).digest()


def read_tombstones(connection: Connection) -> Tombstones:
    """Return the tombstones of the database.

    Raises:
        KeyMissing: there are some, and no key.
    """
    hashes = frozenset(each for (each,) in execute(connection, "erasure/tombstones"))
    if not hashes:
        return Tombstones(b"", hashes)
    key = read_key(erasure_directory())
    if key is None:
        raise KeyMissing(
            f"{len(hashes)} customers were erased, and the key of their tombstones is not in CHURN_ERASURE_DIR: put "
            f"the file {KEY} back, or they would be loaded again"
        )
    return Tombstones(key, hashes)


def read_key(directory: Path | None) -> bytes | None:
    """Return the key, None where there is none."""
    path = directory / KEY if directory else None
    return path.read_bytes() if path and path.is_file() else None


def are_among(users: frozenset[str]) -> AreErased:
    """Return a function that tells of each user_id whether it is among `users`."""
    wanted = pa.array(sorted(users), pa.string())

    def are_erased(ids: pa.Array) -> np.ndarray:
        return pc.is_in(ids, value_set=wanted).to_numpy(zero_copy_only=False)

    return are_erased


@dataclass(frozen=True)
class Found:
    """The lines of a file that belong to erased customers, by number, and whether every line could be read."""

    lines: tuple[int, ...]
    is_whole: bool


def find_lines(open_file: Callable[[], AbstractContextManager[BinaryIO]], are_erased: AreErased) -> Found:
    """Look for erased customers in a drop's file, of any table.

    Args:
        open_file: opens the file; called once for each set of rules, because an id that the first rules accepted may
            break the later ones.
    """
    lines: set[int] = set()
    for rules in range(RULES, 0, -1):
        violations = Violations()
        with open_file() as stream:
            for rows in read_rows(File("any", (USER_ID,)), stream, violations, rules):
                erased = are_erased(rows.table[USER_ID.name].combine_chunks())
                lines.update(rows.lines[erased].tolist())
        if not violations:
            return Found(tuple(sorted(lines)), is_whole=True)
    return Found(tuple(sorted(lines)), is_whole=False)


def ids_of(stream: BinaryIO) -> Iterator[pa.Array]:
    """Yield the ids of a drop's file, of any table, in blocks; by the first rules, which accept every id that was ever
    accepted."""
    for rows in read_rows(File("any", (USER_ID,)), stream, Violations(), rules=1):
        yield rows.table[USER_ID.name].combine_chunks()


def copy_without(source: BinaryIO, target: BinaryIO, lines: Iterable[int]) -> None:
    """Copy a file without these lines; every other byte stays."""
    left_out, number, rest = set(lines), 1, b""
    while data := source.read(BLOCK_BYTES):
        *whole, rest = (rest + data).split(b"\n")
        target.write(b"".join(_kept(whole, number, left_out)))
        number += len(whole)
    if number not in left_out:
        target.write(rest)


def _kept(lines: Sequence[bytes], first: int, left_out: set[int]) -> Iterable[bytes]:
    return (line + b"\n" for number, line in enumerate(lines, first) if number not in left_out)
