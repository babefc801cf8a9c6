"""A CSV file as blocks of whole, numbered lines, in memory bounded by a constant.

Arrow parses fast but loses count: it splits at lone carriage returns, skips empty lines and gives up on a quote left
open. Here a line is what ends in a newline, none of the contract's values may hold one, and a line that cannot be
parsed is reported with its number and replaced, so that the lines around it are still checked.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

BLOCK_BYTES = 8 * 2**20
# Some two hundred times the longest line of a real drop.
LINE_BYTES = 64 * 2**10
UTF8_BOM = b"\xef\xbb\xbf"
UNENDED = " (the last line has no newline: the file may be truncated)"
# Elsewhere than around a whole value a quote means one thing to one reader and another to the next.
_VALUE = rb'(?:"(?:[^"]|"")*+"|[^",]*+)'
WELL_QUOTED = re.compile(_VALUE + rb"(?:," + _VALUE + rb")*+")

Report = Callable[[int, bytes, str], None]
"""Told of a line that cannot be parsed: its number (the header is 1), its text, the rule that it breaks."""


@dataclass(frozen=True)
class Block:
    """Whole lines, each ending in a newline; `first_line` is the number of the first, the header being line 1.

    The lines of the numbers `reported` are empty here, so that the numbers of the others hold. Where the file ends
    without a newline, its last line is a block of its own, not `ended`; its newline is added.
    """

    first_line: int
    data: bytes
    reported: frozenset[int]
    ended: bool = True


def read_blocks(file: BinaryIO, report: Report) -> Iterator[Block]:
    """Yield the file's lines in blocks of about 8 MB, without the byte order mark; CRLF becomes LF.

    Reported instead of yielded: a line longer than 64 KB, an empty line, a carriage return within a line, a quote left
    open or in the middle of a value, and a line that is not UTF-8.
    """
    line = 1
    pending = file.read(len(UTF8_BOM))
    if pending == UTF8_BOM:
        pending = b""
    while True:
        data = file.read(BLOCK_BYTES)
        pending += data
        if end := pending.rfind(b"\n") + 1:
            block = _mend(pending[:end], line, report)
            yield block
            line += block.data.count(b"\n")
            pending = pending[end:]
        if not data:
            break
        if len(pending) > LINE_BYTES:
            report(line, pending, f"a line of at most {LINE_BYTES} bytes")
            line += 1
            pending = _skip_line(file)
    if pending:
        doubted = _mend(pending + b"\n", line, lambda number, text, rule: report(number, text, rule + UNENDED))
        yield replace(doubted, ended=False)


def _skip_line(file: BinaryIO) -> bytes:
    """Read on behind the next newline and return what was read beyond it."""
    while data := file.read(BLOCK_BYTES):
        if end := data.find(b"\n") + 1:
            return data[end:]
    return b""


def _mend(data: bytes, first_line: int, report: Report) -> Block:
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    suspect = b"\r" in data or b'"' in data or b"\n\n" in data or data[:1] == b"\n"
    if not (suspect or _has_long_line(data) or not _is_utf8(data)):
        return Block(first_line, data, frozenset())
    lines = data.split(b"\n")[:-1]
    reported = set()
    for number, text in enumerate(lines, first_line):
        if rule := _broken_rule(text):
            report(number, text, rule)
            reported.add(number)
            lines[number - first_line] = b""
    return Block(first_line, b"\n".join(lines) + b"\n", frozenset(reported))


def _has_long_line(data: bytes) -> bool:
    # From each line's start, the last newline within LINE_BYTES is the start of the next stretch.
    start = 0
    while len(data) - start > LINE_BYTES:
        end = data.rfind(b"\n", start, start + LINE_BYTES + 1)
        if end < 0:
            return True
        start = end + 1
    return False


def _broken_rule(line: bytes) -> str | None:
    if not line:
        return "a line that is not empty"
    if len(line) > LINE_BYTES:
        return f"a line of at most {LINE_BYTES} bytes"
    if b"\r" in line:
        return "no carriage return within a line"
    if b'"' in line and not WELL_QUOTED.fullmatch(line):
        return "quotes around whole values only, each closed on its line"
    return None if _is_utf8(line) else "text in UTF-8"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
