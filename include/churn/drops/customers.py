"""Checks the customers of a drop: each file has each customer once, the five required files have the same ones, and no
two ids differ by case alone.

A valid drop is checked in memory, with 16 bytes per customer. If the check fails, the database finds the faulty
customers and their lines.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import date
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from churn.drops.contract import FILES, LABELS, REQUIRED_FILES, RULES, USER_ID, USERS, File
from churn.drops.tables import Rows, read_rows
from churn.drops.violations import SHOWN, Violations, quote
from churn.postgres.copy import copy_rows
from churn.postgres.database import Connection, connect, execute

Streams = Mapping[str, Callable[[], AbstractContextManager[BinaryIO]]]
"""{file name: function that opens the file again}."""


class Agreement:
    """Checks whether the files read so far agree. The users file is read first.

    Customers are compared by 64-bit hash (SipHash). A collision within a file only makes the database check again. A
    missing customer goes unnoticed only if a wrong one has the same hash.
    """

    def __init__(self, as_of: date, rules: int = RULES) -> None:
        self._as_of, self._rules = as_of, rules
        self._users = np.empty(0, np.uint64)
        self._folded_users = np.empty(0, np.uint64)
        self.holds = True

    @property
    def users(self) -> np.ndarray:
        """The sorted hashes of the customers of the users file."""
        return self._users

    def read(self, file: File, rows: Iterable[Rows]) -> int:
        """Read a file's rows and return their number."""
        count, parts, folded = 0, [np.empty((0, 2), np.uint64)], [np.empty(0, np.uint64)]
        for each in rows:
            count += len(each.lines)
            customers = customers_of(each, self._as_of).drop_null()
            parts.append(_keys(customers, self._as_of))
            # In the other files every id must equal one of the users file, so folding them adds nothing.
            if self._rules > 1 and file is USERS:
                folded.append(_hash(fold(customers["user_id"])))
            elif self._rules > 1 and file is LABELS:
                late = customers.filter(pc.not_equal(customers["as_of"], pa.scalar(self._as_of, pa.date32())))
                folded.append(_hash(fold(late["user_id"])))
        keys = np.concatenate(parts)
        if file is USERS:
            self._users = np.sort(keys[:, 0])
        # A label of another date is a separate row of the same customer.
        each_row = np.sort(keys[:, 0] ^ keys[:, 1])
        once = len(each_row) == count and not (each_row[1:] == each_row[:-1]).any()
        of_this_date = np.sort(keys[keys[:, 1] == 0, 0])
        same = np.array_equal(of_this_date, self._users) if file in REQUIRED_FILES else self._knows(of_this_date)
        late_ids = keys[keys[:, 1] != 0, 0]
        differ = self._differ_by_more_than_case(
            file, self._users if file is USERS else late_ids, np.concatenate(folded)
        )
        self.holds = self.holds and once and same and differ
        return count

    def _differ_by_more_than_case(self, file: File, ids: np.ndarray, folded: np.ndarray) -> bool:
        """Tell whether folding merges no two ids of the file. Ids of late labels are checked with the users."""
        if not len(folded):
            return True
        if file is USERS:
            self._folded_users = folded
        else:
            ids, folded = np.concatenate([ids, self._users]), np.concatenate([folded, self._folded_users])
        return _distinct(ids) == _distinct(folded)

    def _knows(self, keys: np.ndarray) -> bool:
        # A sorted search is faster than numpy's isin and unique, which build hash tables.
        return count_shared(keys, self._users) == len(keys)


def read_users(stream: BinaryIO, rules: int) -> np.ndarray:
    """Return the sorted hashes of the customers of an archived users file; only the ids are parsed.

    Args:
        rules: those that the drop was accepted by.
    """
    # An accepted file needs no check of label dates or case.
    agreement = Agreement(date.min, rules=1)
    agreement.read(USERS, read_rows(File(USERS.table, (USER_ID,)), stream, Violations(), rules))
    return agreement.users


def count_shared(some: np.ndarray, others: np.ndarray) -> int:
    """Return how many of `some` are among `others`; both are sorted arrays."""
    places = np.searchsorted(others, some)
    return int((others.take(places, mode="clip") == some).sum()) if len(others) else 0


def _keys(customers: pa.Table, as_of: date) -> np.ndarray:
    """Return a row per customer: hash of the id, and hash of the label's date, 0 for the drop's own date."""
    days = customers["as_of"].cast(pa.int32()).to_numpy() - (as_of - date(1970, 1, 1)).days
    return np.stack([_hash(customers["user_id"].combine_chunks()), days.astype(np.uint64) * np.uint64(_SPREAD)], axis=1)


def _hash(ids: pa.Array) -> np.ndarray:
    return pd.util.hash_array(ids.to_numpy(zero_copy_only=False), categorize=False)


def _distinct(keys: np.ndarray) -> int:
    ordered = np.sort(keys)
    return min(len(ordered), 1) + int(np.count_nonzero(ordered[1:] != ordered[:-1]))


def fold(ids: pa.ChunkedArray) -> pa.Array:
    """Return the ids case-folded, by Unicode's full folding (straße and STRASSE are equal)."""
    whole = ids.combine_chunks()
    folded, other = pc.ascii_lower(whole), pc.invert(pc.string_is_ascii(whole))
    if not pc.any(other).as_py():
        return folded
    others = pa.array([user_id.casefold() for user_id in whole.filter(other).to_pylist()], pa.string())
    return pc.replace_with_mask(folded, other, others)


_SPREAD = 0x9E3779B97F4A7C15
"""An odd 64-bit constant: multiplying by it maps each date to a distinct, large hash."""


def customers_of(rows: Rows, as_of: date) -> pa.Table:
    """Return line, user_id and as_of of the rows; as_of is a label's date, else the drop's own."""
    own = pa.repeat(pa.scalar(as_of, pa.date32()), len(rows.table))
    return pa.table({
        "line": pa.array(rows.lines),
        "user_id": rows.table["user_id"],
        "as_of": rows.table["as_of"] if "as_of" in rows.table.column_names else own,
    })  # fmt: skip


def find_disagreements(
    as_of: date,
    files: Streams,
    readable: list[str],
    database_url: str,
    violations: Violations,
    *,
    rules: int = RULES,
) -> None:
    """Add the customers on whom the files disagree, with their lines, to `violations`.

    The files are compared in a temporary table of the database, which is rolled back. If rows of the users file could
    not be read, only duplicates are checked.

    Args:
        readable: the files with readable rows; empty ones were reported before.
        rules: number of the rules that the files were read by.
    """
    checks: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("customers/duplicates", {}, "each user_id once"),
        ("customers/orphans", {"users": USERS.name, "as_of": as_of}, f"a customer of {USERS.name}"),
        (
            "customers/missing",
            {"users": USERS.name, "files": [name for name in readable if name != LABELS.name]},
            f"a row for each customer of {USERS.name}",
        ),
    )
    with connect(database_url) as connection:
        execute(connection, "customers/create_table")
        for file in FILES:
            if file.name in files:
                copy_rows(connection, sql.Identifier("drop_customers"), _read(file, files, as_of, rules))
        execute(connection, "customers/analyze")
        for statement, parameters, rule in checks[:1] if violations.lose_rows(USERS.name) else checks:
            for file, line, user_id, count in execute(connection, statement, {**parameters, "shown": SHOWN}):
                if user_id is None:
                    violations.count(file, rule, column="user_id", more=count)
                else:
                    violations.add(file, rule, line=line, column="user_id", value=user_id)
        _find_cases(connection, violations)
        connection.rollback()


def _find_cases(connection: Connection, violations: Violations) -> None:
    rule = "ids that differ by more than case"
    of = {"users": USERS.name, "shown": SHOWN}
    for file, line, user_id, count, *other in execute(connection, "customers/cases", of):
        if user_id is None:
            violations.count(file, rule, column="user_id", more=count)
            continue
        other_file, other_line, other_id = other
        where = "" if other_file == file else f"{other_file}, "
        note = f"{where}line {other_line} has {quote(other_id)}"
        violations.add(file, rule, line=line, column="user_id", value=user_id, note=note)


def _read(file: File, files: Streams, as_of: date, rules: int) -> Iterator[pa.Table]:
    with files[file.name]() as stream:
        # Faults of single values were reported when the file was first read.
        for rows in read_rows(file, stream, Violations(), rules):
            customers = customers_of(rows, as_of).drop_null()
            customers = customers.append_column("file", pa.repeat(file.name, len(customers)))
            compared = file in {USERS, LABELS} and rules > 1
            folded = fold(customers["user_id"]) if compared else pa.nulls(len(customers), pa.string())
            yield customers.append_column("folded", folded)
