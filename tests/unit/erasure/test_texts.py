"""Ids are erased from text where they stand as whole tokens, and from nothing that only looks like one."""

import json

import pytest

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


def test_the_longer_of_two_ids_is_erased_whole():
    assert Mentions({"AB-1234", "AB-1234-X9"}).erased_from("AB-1234-X9, AB-1234") == ("[erased], [erased]", 2)
