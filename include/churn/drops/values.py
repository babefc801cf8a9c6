"""Converts a column's texts to its type and finds the values that break a rule of the contract."""

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from churn.drops.contract import LARGEST_NUMBER, UNSEEN, USER_ID, Column, Kind

ARROW_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.DATE: pa.date32(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.COUNT: pa.int64(),
    Kind.NUMBER: pa.float64(),
}

PATTERNS = {
    # PostgreSQL's text cannot hold a NUL.
    Kind.TEXT: r"^[^\x00]{1,256}$",
    # PostgreSQL and Python know no year 0000.
    Kind.DATE: r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}$",
    # 18 digits always fit 64 bits.
    Kind.COUNT: r"^[0-9]{1,18}$",
    Kind.NUMBER: r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$",
}

_BLANK = r"[\p{Z}\t-\r\x{85}]"
OUTER_BLANK = f"^{_BLANK}|{_BLANK}$"
# Control characters, format characters (zero-width, soft hyphen, byte order mark, direction marks), separators.
_SEEN = rf"[^\p{{Cc}}\p{{Cf}}\p{{Z}}{UNSEEN}]+"
CLEAN = f"^{_SEEN}( +{_SEEN})*$"

SPELLINGS = (("true", "false"), ("t", "f"), ("yes", "no"), ("1", "0"))
"""Accepted spellings of a boolean, in any case. Rules 1 accept only the first."""
_WORDS = pa.array([word for spelling in SPELLINGS for word in spelling])
WORDS_FOR_NULL = pa.array(["null", "nan", "none"])

Spellings = MutableMapping[str, int]
"""{column: index into SPELLINGS that the first value of the file chose}."""


@dataclass(frozen=True)
class Fault:
    """A rule in words, and a mask of the values that break it."""

    rule: str
    where: pa.Array


def read_values(column: Column, raw: pa.Array, rules: int, spellings: Spellings) -> tuple[pa.Array, list[Fault]]:
    """Convert the texts of a column to its type.

    Args:
        raw: the texts.
        rules: number of the rules to check.
        spellings: of the file so far; updated.

    Returns:
        The typed values, NULL where empty or faulty, and the faults. Each value has at most one fault.
    """
    or_empty = ", or empty" if column.nullable else ""
    typed, good = _booleans(raw, rules) if column.kind is Kind.BOOLEAN else _others(column.kind, raw)
    wrong = pc.invert(pc.or_(good, pc.equal(raw, "")) if column.nullable else good)
    faults = [Fault(column.rule, wrong)]
    for rule, obeyed in _further(column, raw, typed, rules, spellings):
        faults.append(Fault(rule + or_empty, pc.and_not(good, obeyed)))
        good = pc.and_(good, obeyed)
    found = [fault for fault in faults if pc.any(fault.where).as_py()]
    return (pc.if_else(good, typed, pa.scalar(None, typed.type)) if found else typed), found


def _others(kind: Kind, raw: pa.Array) -> tuple[pa.Array, pa.Array]:
    good = pc.match_substring_regex(raw, PATTERNS[kind])
    typed = _cast(pc.if_else(good, raw, None), ARROW_TYPES[kind])
    good = pc.and_(good, pc.is_valid(typed))
    if kind is Kind.NUMBER:
        fits = pc.and_(pc.greater_equal(typed, 0.0), pc.less_equal(typed, LARGEST_NUMBER))
        good = pc.and_(good, pc.fill_null(fits, False))
    return typed, good


def _words(raw: pa.Array, rules: int) -> pa.Array:
    """Return each value's index in the flattened SPELLINGS, NULL if it is not among them."""
    return pc.index_in(pc.ascii_lower(raw), _WORDS if rules > 1 else _WORDS[:2])


def _booleans(raw: pa.Array, rules: int) -> tuple[pa.Array, pa.Array]:
    words = _words(raw, rules)
    return pc.equal(pc.bit_wise_and(words, 1), 0), pc.is_valid(words)


def _further(
    column: Column, raw: pa.Array, typed: pa.Array, rules: int, spellings: Spellings
) -> Iterator[tuple[str, pa.Array]]:
    """Yield each additional rule of rules 2, with a mask of the values that obey it."""
    if rules == 1:
        return
    if column.kind is Kind.TEXT:
        clean = pc.match_substring_regex(raw, CLEAN)
        if not pc.all(clean).as_py():
            yield "no blanks before or after it", pc.invert(pc.match_substring_regex(raw, OUTER_BLANK))
            yield "no invisible or control characters, and no blank but the plain space", clean
        if column != USER_ID:
            yield (
                "a text that does not mean a missing value (NULL, nan, None)",
                pc.invert(pc.is_in(pc.ascii_lower(raw), WORDS_FOR_NULL)),
            )
    if column.since:
        rule = f"a date from {column.since} on"
        yield rule, pc.fill_null(pc.greater_equal(typed, pa.scalar(column.since, pa.date32())), True)
    if column.kind is Kind.BOOLEAN:
        chosen = pc.shift_right(_words(raw, rules), 1)
        of_values = chosen.drop_null()
        if len(of_values):
            first = spellings.setdefault(column.name, of_values[0].as_py())
            rule = f"{'/'.join(SPELLINGS[first])} as in the lines before: one spelling a column"
            yield rule, pc.fill_null(pc.equal(chosen, first), True)


def _cast(text: pa.Array, to: pa.DataType) -> pa.Array:
    """Cast texts. Well-formed but impossible values (2024-02-30) become NULL."""
    try:
        return pc.cast(text, to)
    except pa.ArrowInvalid:
        return pa.concat_arrays([_cast_one(text[i : i + 1], to) for i in range(len(text))])


def _cast_one(text: pa.Array, to: pa.DataType) -> pa.Array:
    try:
        return pc.cast(text, to)
    except pa.ArrowInvalid:
        return pa.nulls(1, to)
