"""Why a date was judged again, in words."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from churn.board.health import Revision, changes

FIRST = Revision(
    as_of=date(2024, 1, 31),
    revision=1,
    known_as_of=date(2024, 2, 29),
    judged_at=datetime(2024, 3, 1, tzinfo=UTC),
    withdrawn_at=None,
    list_revision=1,
    list_version=3,
    answering_version=None,
    labelled_by={"2024-02-29": "a"},
    treated_by={},
    code_digest="c",
    is_current=False,
)


@pytest.mark.parametrize(
    ("different", "words"),
    [
        ({"labelled_by": {"2024-02-29": "a", "2024-03-31": "b"}}, ["labels of the drop of 2024-03-31"]),
        ({"labelled_by": {"2024-02-29": "corrected"}}, ["labels of the drop of 2024-02-29"]),
        ({"labelled_by": {"2024-03-31": "b"}}, ["labels of the drop of 2024-02-29, 2024-03-31"]),
        ({"treated_by": {"2024-02-29": "a"}}, ["actions of the drop of 2024-02-29"]),
        ({"list_revision": 2, "list_version": 4}, ["list revision 2 by version 4"]),
        ({"answering_version": 5}, ["version 5 was answering"]),
        ({"code_digest": "d"}, ["the code that judges"]),
        ({"list_revision": 2, "code_digest": "d"}, ["list revision 2 by version 3", "the code that judges"]),
    ],
)
def test_the_words_name_what_changed(different, words):
    assert changes(FIRST, replace(FIRST, revision=2, **different)) == words


def test_a_first_judgement_has_no_change():
    assert changes(None, FIRST) == []


def test_where_the_lists_own_version_answered_it_is_named():
    before = replace(FIRST, answering_version=5)
    assert changes(before, replace(FIRST, revision=2)) == ["version 3 was answering"]
