"""Ids of customers in text, where only a person can have written them: in the reason of a pin, a report quotes it."""

import html
import json
import re
from collections.abc import Iterable

ERASED = "[erased]"
"""What stands in place of an id."""

SHORTEST = 6
"""Characters of an id that is looked for in text. A shorter one would be found in figures and words of any report."""

WORD = re.compile(r"\w+")


class Mentions:
    """The ids of some customers, to be found in text.

    An id is looked for if it has SHORTEST characters or more, and is neither a number nor a word.
    """

    def __init__(self, users: Iterable[str]) -> None:
        ids = {each for each in users if len(each) >= SHORTEST and not each.isalpha() and not _is_number(each)}
        forms = {form for each in ids for form in (each, html.escape(each), json.dumps(each)[1:-1])}
        self._words = {form: frozenset(words) for form in forms if (words := WORD.findall(form))}

    def erased_from(self, text: str) -> tuple[str, int]:
        """Return the text with ERASED in place of each id that stands as a whole token, and their number."""
        words = {*WORD.findall(text)}
        # Longest first: one id may begin another.
        there = sorted((form for form, parts in self._words.items() if parts <= words), key=len, reverse=True)
        if not there:
            return text, 0
        return re.subn(rf"(?<!\w)(?:{'|'.join(map(re.escape, there))})(?!\w)", ERASED, text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
