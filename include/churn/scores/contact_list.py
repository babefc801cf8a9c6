"""The CSV for whoever contacts customers: its columns, encoding, and cells that no spreadsheet takes for a formula.

top.csv of a revision and the download of the page "At risk" have this form.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from churn.scores.words import in_words

COLUMNS = ("as_of", "revision", "user_id", "rank", "churn_probability", "monthly_fee", "revenue_at_risk")

REASON_COLUMNS = ("reason_1", "reason_2", "reason_3")

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Without it, and without CRLF, Excel misreads names with accents."""

FORMULA = re.compile(r"(^|;)(?=[=+\-@\t\r])")
"""Where a spreadsheet takes text for a formula: at the beginning of a cell. In some languages Excel also begins a cell
at each semicolon."""


def header() -> bytes:
    """Return the beginning of the file: the byte order mark and the line of the columns."""
    return BYTE_ORDER_MARK + _encoded([[*COLUMNS, *REASON_COLUMNS]])


def lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the lines of these customers.

    Args:
        rows: COLUMNS and `reasons`, a list of {feature, value, effect}, None or empty where there are none.
    """
    return _encoded([*(row[name] for name in COLUMNS), *_reasons(row["reasons"] or ())] for row in rows)


def _reasons(reasons: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a cell for each of REASON_COLUMNS."""
    words = [in_words(reason) for reason in reasons]
    return words + [""] * (len(REASON_COLUMNS) - len(words))


def _encoded(cells: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(map(_defused, line) for line in cells)
    return text.getvalue().encode()


def _defused(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    # Most cells need no search: ids and reasons of a million customers.
    if isinstance(cell, str) and (";" in cell or not cell[:1].isalnum()):
        return FORMULA.sub(r"\1'", cell)
    return cell
