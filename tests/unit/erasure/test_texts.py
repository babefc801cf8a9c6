"""Ids are found in text where they stand as whole tokens, and not in what only looks like one."""

import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from markupsafe import escape

from churn.erasure.texts import Mentions


@pytest.mark.parametrize(
    ("user", "text", "left"),
    [
        ("7892-POOKP", "rolled back for 7892-POOKP, again 7892-POOKP.", "rolled back for [erased], again [erased]."),
        ("7892-POOKP", "<li>7892-POOKP</li>", "<li>[erased]</li>"),
        ("a<b>c-12", "<p>a&lt;b&gt;c-12</p>", "<p>[erased]</p>"),
        ("Zoë-1234", json.dumps({"why": "Zoë-1234 asked"}), json.dumps({"why": "[erased] asked"})),
        ("ada@example.com", "asked by ada@example.com", "asked by [erased]"),
    ],
    ids=["text", "html", "escaped in html", "escaped in json", "an address"],
)
def test_an_id_is_erased_from_text(user, text, left):
    found, mentions = Mentions({user, "1234-OTHER"}).erased_from(text)
    assert (found, mentions) == (left, left.count("[erased]"))


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("7892-POOKP", "17892-POOKP and 7892-POOKPS"),
        ("12", '{"rows": 12}'),
        ("1234567", '{"rows": 1234567, "auc": 0.1234567}'),
        ("0.123456", '{"auc": 0.123456}'),
        ("candidate", "the candidate is better"),
        ("-------", "-------"),
    ],
    ids=["part of another", "short", "a number", "a fraction", "a word", "no letter or figure"],
)
def test_figures_words_and_other_ids_stay(user, text):
    assert Mentions({user}).erased_from(text) == (text, 0)


AWKWARD = "Zoë O'Neil/\"<7>\\"
"""Every way of writing it differs."""


@pytest.mark.parametrize(
    "written",
    [
        repr(AWKWARD),
        repr({AWKWARD}),
        ascii([AWKWARD, "x"]),
        repr(AWKWARD.encode()),
        repr(AWKWARD[:5] + "-12"),
        json.dumps(AWKWARD),
        json.dumps(AWKWARD, ensure_ascii=False),
        json.dumps({"event": f"expected a date: {AWKWARD!r}"}, ensure_ascii=False),
        f"<li>{escape(AWKWARD)}</li>",
        f"GET /customers/{quote(AWKWARD)} HTTP/1.1",
        f"GET /customers/{quote(AWKWARD, safe='')} HTTP/1.1",
        f"GET /customers?id={quote_plus(AWKWARD)}&x=1 HTTP/1.1",
        f"GET /?{urlencode({'user': AWKWARD})}",
        json.dumps({"event": f"x\n{AWKWARD}\t{AWKWARD}"}),
    ],
)
def test_an_id_is_found_in_every_way_of_writing_it(written):
    mentions = Mentions({AWKWARD, AWKWARD[:5] + "-12"})
    text, count = mentions.erased_from(written)
    assert count == len(mentions.spans_in(written.encode())) > 0
    assert "Neil" not in text
    assert "Zo" not in text


def test_spans_are_of_bytes_and_bytes_that_are_no_text_are_passed_over():
    content = "größer … ".encode() + b"\xff7892-POOKP\xfe" + "“Zoë-1234… 7892-POOKPé".encode()
    spans = Mentions({"7892-POOKP", "Zoë-1234"}).spans_in(content)
    assert [content[start:end].decode() for start, end in spans] == ["7892-POOKP", "Zoë-1234"]


def test_ids_that_are_not_looked_for_are_counted():
    assert Mentions({"12", "candidate", "1234567", "7892-POOKP"}).not_looked_for == 3


def test_the_longer_of_two_ids_is_erased_whole():
    assert Mentions({"AB-1234", "AB-1234-X9"}).erased_from("AB-1234-X9, AB-1234") == ("[erased], [erased]", 2)
