"""Gathering: what requests wait for at the same time is done once for all of them."""

import traceback

import pytest
from greenlet import greenlet

from serving.gathering import Gathering


class Squares:
    """Work that notes what it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, numbers):
        self.asked.append(list(numbers))
        if 0 in numbers:
            raise ZeroDivisionError("nobody is answered")
        return [number**2 for number in numbers]


def begin(gathering, numbers):
    """Begin with a request for each number, as a worker does; return what each came to, as far as it did."""
    came_to = {}

    def request(number):
        try:
            came_to[number] = gathering.ask(number)
        except ZeroDivisionError as error:
            came_to[number] = str(error), traceback.extract_tb(error.__traceback__)[-1].name

    for number in numbers:
        greenlet(request).switch(number)
    return came_to


def test_all_who_ask_before_the_answer_are_answered_by_one_call_each_with_its_own():
    gathering = Gathering(work := Squares())
    came_to = begin(gathering, [3, 1, 2])
    assert came_to == {}
    assert work.asked == []
    gathering.answer()
    assert came_to == {3: 9, 1: 1, 2: 4}
    assert work.asked == [[3, 1, 2]]


def test_nobody_is_answered_twice_and_no_work_is_done_for_nobody():
    gathering = Gathering(work := Squares())
    gathering.answer()
    begin(gathering, [1])
    gathering.answer()
    later = begin(gathering, [2])
    gathering.answer()
    gathering.answer()
    assert work.asked == [[1], [2]]
    assert later == {2: 4}


def test_one_who_cannot_be_answered_spoils_nobody_elses_answer():
    gathering = Gathering(work := Squares())
    came_to = begin(gathering, [1, 0, 2])
    gathering.answer()
    # With the place where it happened, for the log.
    assert came_to == {1: 1, 2: 4, 0: ("nobody is answered", "__call__")}
    assert work.asked == [[1, 0, 2], [1], [0], [2]]
    later = begin(gathering, [5])
    gathering.answer()
    assert later == {5: 25}


def test_a_request_of_another_server_is_answered_at_once():
    gathering = Gathering(work := Squares())
    assert gathering.ask(4) == 16
    with pytest.raises(ZeroDivisionError):
        gathering.ask(0)
    assert work.asked == [[4], [0]]
