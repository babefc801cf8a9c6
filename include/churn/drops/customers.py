"""Checks the customers of a drop: each file has each customer once, the five required files have the same ones, and no
two ids differ by case alone. Optional files have a customer once for each date, actions.csv for each action too.

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

from churn.drops.contract import ACTIONS, FILES, OPTIONAL_FILES, REQUIRED_FILES, RULES, USER_ID, USERS, File
from churn.drops.tables import Rows, read_rows
from churn.drops.violations import SHOWN, Violations, quote
from churn.postgres.copy import copy_rows
from churn.postgres.database import Connection, connect, execute

ONCE = "each user_id once"
ONCE_AN_ACTION = "each user_id once for an action and a date"

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
        self._late = np.empty(0, np.uint64)
        self._folded = np.empty(0, np.uint64)
        self.holds = True

    @property
    def users(self) -> np.ndarray:
        """The sorted hashes of the customers of the users file."""
        return self._users

    def read(self, file: File, rows: Iterable[Rows]) -> int:
        """Read a file's rows and return their number."""
        count, parts, folded = 0, [np.empty((0, 3 if file is ACTIONS else 2), np.uint64)], [np.empty(0, np.uint64)]
        for each in rows:
            count += len(each.lines)
            customers = customers_of(each, self._as_of).drop_null()
            parts.append(_keys(customers, self._as_of))
            # All other ids must equal one of the users file, so folding them adds nothing.
            if self._rules > 1 and file is USERS:
                folded.append(_hash(fold(customers["user_id"])))
            elif self._rules > 1 and file in OPTIONAL_FILES:
                late = customers.filter(pc.not_equal(customers["as_of"], pa.scalar(self._as_of, pa.date32())))
                folded.append(_hash(fold(late["user_id"])))
        keys = np.concatenate(parts)
        if file is USERS:
            self._users = np.sort(keys[:, 0])
        # A label of another date, or another action, is a separate row of the same customer.
        each_row = np.sort(np.bitwise_xor.reduce(keys, axis=1))
        once = len(each_row) == count and not (each_row[1:] == each_row[:-1]).any()
        of_this_date = np.sort(keys[keys[:, 1] == 0, 0])
        same = np.array_equal(of_this_date, self._users) if file in REQUIRED_FILES else self._knows(of_this_date)
        differ = self._differ_by_more_than_case(keys[keys[:, 1] != 0, 0], np.concatenate(folded))
        self.holds = self.holds and once and same and differ
        return count

    def _differ_by_more_than_case(self, late: np.ndarray, folded: np.ndarray) -> bool:
        """Tell whether folding merges no two ids of the files read so far. `late` are those of earlier dates."""
        if not len(folded):
            return True
        self._late, self._folded = np.concatenate([self._late, late]), np.concatenate([self._folded, folded])
        return _distinct(np.concatenate([self._users, self._late])) == _distinct(self._folded)

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
    """Return the hashes of each row: of the id, of the date, 0 for the drop's own, and of the action, if it has one."""
    days = customers["as_of"].cast(pa.int32()).to_numpy() - (as_of - date(1970, 1, 1)).days
    keys = [_hash(customers["user_id"].combine_chunks()), days.astype(np.uint64) * np.uint64(_SPREAD)]
    if "action" in customers.column_names:
        # Spread, so that customer a with action b differs from customer b with action a.
        keys.append(_hash(customers["action"].combine_chunks()) * np.uint64(_SPREAD))
    return np.stack(keys, axis=1)


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
    """Return line, user_id and as_of of the rows, and the action where there is one. as_of is the date of the row in an
    optional file, else the drop's own."""
    own = pa.repeat(pa.scalar(as_of, pa.date32()), len(rows.table))
    return pa.table({
        "line": pa.array(rows.lines),
        "user_id": rows.table["user_id"],
        "as_of": rows.table["as_of"] if "as_of" in rows.table.column_names else own,
        **{name: rows.table[name] for name in rows.table.column_names if name == "action"},
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
        ("customers/duplicates", {}, ONCE),
        ("customers/orphans", {"users": USERS.name, "as_of": as_of}, f"a customer of {USERS.name}"),
        (
            "customers/missing",
            {"users": USERS.name, "files": [file.name for file in REQUIRED_FILES if file.name in readable]},
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
                broken = ONCE_AN_ACTION if (file, rule) == (ACTIONS.name, ONCE) else rule
                if user_id is None:
                    violations.count(file, broken, column="user_id", more=count)
                else:
                    violations.add(file, broken, line=line, column="user_id", value=user_id)
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
            compared = file in {USERS, *OPTIONAL_FILES} and rules > 1
            folded = fold(customers["user_id"]) if compared else pa.nulls(len(customers), pa.string())
            yield customers.append_column("folded", folded)
