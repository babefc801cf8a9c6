"""Checks the customers of a drop: each file has each customer once, the five required files have the same ones, and no
two ids differ by case alone. Optional files have a customer once for each date, actions.csv for each action too.

A valid drop is checked by hashes on disk. If the check fails, the database finds the faulty customers and their lines.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from churn.drops.contract import ACTIONS, FILES, OPTIONAL_FILES, REQUIRED_FILES, RULES, USER_ID, USERS, File
from churn.drops.keys import PARTS, Keys, are_among
from churn.drops.tables import Rows, read_rows
from churn.drops.violations import SHOWN, Violations, quote
from churn.postgres.copy import copy_rows
from churn.postgres.database import Connection, connect, execute

ONCE = "each user_id once"
ONCE_AN_ACTION = "each user_id once for an action and a date"

Streams = Mapping[str, Callable[[], AbstractContextManager[BinaryIO]]]
"""{file name: function that opens the file again}."""


class Agreement:
    """Checks whether the files that were read agree.

    Customers are compared by 64-bit hash (SipHash), a part of them at a time. A collision within a file only makes the
    database check again. A missing customer goes unnoticed only if a wrong one has the same hash.
    """

    def __init__(self, as_of: date, directory: Path, rules: int = RULES) -> None:
        """Keep hashes, 16 to 40 bytes a row of a file, in `directory`, which must last as long as this is used."""
        self._as_of, self._rules, self._directory = as_of, rules, directory
        self._keys: dict[File, Keys] = {}
        self._late, self._folded = Keys(directory / "late"), Keys(directory / "folded")
        self._complete = True

    @property
    def users(self) -> Keys:
        """The customers of the users file."""
        return self._keys[USERS]

    def read(self, file: File, rows: Iterable[Rows]) -> int:
        """Read a file's rows and return their number."""
        keys = self._keys[file] = Keys(self._directory / f"{file.name}.keys", 3 if file is ACTIONS else 2)
        count = found = 0
        for each in rows:
            customers = customers_of(each, self._as_of).drop_null()
            count, found = count + len(each.lines), found + len(customers)
            keys.add(_keys(customers, self._as_of))
            # All other ids must equal one of the users file, so folding them adds nothing.
            if self._rules > 1 and file is USERS:
                self._fold(customers)
            elif self._rules > 1 and file in OPTIONAL_FILES:
                late = customers.filter(pc.not_equal(customers["as_of"], pa.scalar(self._as_of, pa.date32())))
                self._late.add(_hash(late["user_id"]))
                self._fold(late)
        self._complete = self._complete and count == found
        return count

    def holds(self) -> bool:
        """Tell whether the files agree. The users file was read."""
        return self._complete and all(map(self._agree, range(PARTS))) and self._differ_by_more_than_case()

    def _fold(self, customers: pa.Table) -> None:
        self._folded.add(_hash(fold(customers["user_id"])))

    def _agree(self, part: int) -> bool:
        """Tell whether the files agree on that part of the customers."""
        known = np.sort(self.users.part(part)[:, 0])
        for file, of_file in self._keys.items():
            keys = of_file.part(part)
            # A label of another date, or another action, is a separate row of the same customer.
            if _distinct(np.bitwise_xor.reduce(keys, axis=1)) < len(keys):
                return False
            of_this_date = np.sort(keys[keys[:, 1] == 0, 0])
            same = np.array_equal(of_this_date, known) if file in REQUIRED_FILES else are_among(of_this_date, known)
            if not np.all(same):
                return False
        return True

    def _differ_by_more_than_case(self) -> bool:
        """Tell whether folding merges no two ids."""
        if self._rules == 1:
            return True
        different = folded = 0
        for part in range(PARTS):
            different += _distinct(np.concatenate([self.users.part(part)[:, 0], self._late.part(part)[:, 0]]))
            folded += _distinct(self._folded.part(part)[:, 0])
        return different == folded


def read_users(stream: BinaryIO, rules: int, directory: Path) -> Keys:
    """Return the customers of an archived users file, kept in `directory`; only the ids are parsed.

    Args:
        rules: those that the drop was accepted by.
    """
    keys = Keys(directory / "users")
    for each in read_rows(File(USERS.table, (USER_ID,)), stream, Violations(), rules):
        keys.add(_hash(each.table["user_id"]))
    return keys


def _keys(customers: pa.Table, as_of: date) -> np.ndarray:
    """Return the hashes of each row: of the id, of the date, 0 for the drop's own, and of the action, if it has one."""
    days = customers["as_of"].cast(pa.int32()).to_numpy() - (as_of - date(1970, 1, 1)).days
    keys = [_hash(customers["user_id"]), days.astype(np.uint64)[:, np.newaxis] * np.uint64(_SPREAD)]
    if "action" in customers.column_names:
        # Spread, so that customer a with action b differs from customer b with action a.
        keys.append(_hash(customers["action"]) * np.uint64(_SPREAD))
    return np.hstack(keys)


def _hash(texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return the hashes as a column."""
    return pd.util.hash_array(texts.to_numpy(zero_copy_only=False), categorize=False)[:, np.newaxis]


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
