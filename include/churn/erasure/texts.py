"""Ids of customers in text: in the reason of a pin, where a person wrote them and a report quotes it, and in log files,
which quote values of a drop.
"""

import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from markupsafe import escape

ERASED = "[erased]"
"""What stands in place of an id."""

SHORTEST = 6
"""Characters of an id that is looked for in text. A shorter one would be found in figures and words of any report."""

WORD = re.compile(r"\w+")
AFTER_ESCAPE = re.compile(r"\\[nrt](\w+)")
"""A word after the end of a line or a tab, as JSON and Python write it: the letter of the escape is no part of it."""

LEFT_AS_THEY_ARE = ("", "/", "!'()*", "/@:!$&'()*+,;=")
"""Characters that a URL keeps: of a value and of a path by Python, of a value by a browser, of a path by RFC 3986."""


class Mentions:
    """The ids of some customers, to be found in text.

    An id is looked for if it has SHORTEST characters or more, and is neither a number nor a word.

    Attributes:
        not_looked_for: the number of the other ids.
    """

    def __init__(self, users: Iterable[str]) -> None:
        given = {*users}
        ids = {each for each in given if len(each) >= SHORTEST and not each.isalpha() and not _is_number(each)}
        self.not_looked_for = len(given) - len(ids)
        forms = {form for each in ids for form in _forms_of(each)}
        self._words = {form: frozenset(words) for form in forms if (words := WORD.findall(form))}

    def erased_from(self, text: str) -> tuple[str, int]:
        """Return the text with ERASED in place of each id that stands as a whole token, and their number."""
        pattern = self._pattern_of(text)
        return pattern.subn(ERASED, text) if pattern else (text, 0)

    def spans_in(self, content: bytes) -> list[tuple[int, int]]:
        """Return where in UTF-8 the ids begin and end that stand as whole tokens, in order. Other bytes are no id."""
        text = content.decode("utf-8", "surrogateescape")
        pattern = self._pattern_of(text)
        return [*_in_bytes(text, (each.span() for each in pattern.finditer(text)))] if pattern else []

    def _pattern_of(self, text: str) -> re.Pattern[str] | None:
        """Return what finds the ids that this text may have; None if it has none."""
        words = {*WORD.findall(text), *AFTER_ESCAPE.findall(text)}
        # Longest first: one id may begin another.
        there = sorted((form for form, parts in self._words.items() if parts <= words), key=len, reverse=True)
        either = "|".join(map(re.escape, there))
        return re.compile(rf"(?:(?<!\w)|(?<=\\[nrt]))(?:{either})(?!\w)") if there else None


def _forms_of(user: str) -> set[str]:
    """Return an id as text, HTML, JSON, a URL and Python write it, and Python within JSON, as tasks log it."""
    # With both quotation marks Python escapes the single ones.
    of_python = {write(f"{user}'\"")[1:-4] for write in (repr, ascii)} | {write(user)[1:-1] for write in (repr, ascii)}
    plain = {user, *of_python, repr(user.encode())[2:-1]}
    in_json = {json.dumps(form, ensure_ascii=all_ascii)[1:-1] for form in plain for all_ascii in (True, False)}
    in_html = {html.escape(user), html.escape(user, quote=False), str(escape(user))}
    in_url = {quote(user, safe=kept) for kept in LEFT_AS_THEY_ARE} | {quote_plus(user)}
    return plain | in_json | in_html | in_url


def _in_bytes(text: str, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield each span of characters as one of bytes."""
    at = size = 0
    for start, end in spans:
        begin = size + _size(text[at:start])
        size, at = begin + _size(text[start:end]), end
        yield begin, size


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
