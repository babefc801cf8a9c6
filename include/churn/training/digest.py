"""Digests of tables: equal rows have equal digests."""

import hashlib
import io
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.csv


def digest_of(table: pa.Table) -> str:
    """Return the sha256 of the table as CSV with a header."""
    return digest_of_parts(table.schema, [table])


def digest_of_parts(schema: pa.Schema, parts: Iterable[pa.Table]) -> str:
    """Return the same of a table in parts."""
    digest = _Digest()
    with pyarrow.csv.CSVWriter(digest, schema) as writer:
        for part in parts:
            writer.write_table(part)
    return digest.sha256.hexdigest()


class _Digest(io.RawIOBase):
    """A file object that hashes everything written to it."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return len(data)
