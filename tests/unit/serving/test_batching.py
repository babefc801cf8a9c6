"""Micro-batching: requests that come while another is answered are answered together, by one call."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from serving.batching import MicroBatches

PATIENCE_SECONDS = 30


class Squares:
    """Work that notes what it was asked for; asked for `holds_at`, it waits until it may go on."""

    def __init__(self, holds_at=None):
        self.asked, self._holds_at = [], holds_at
        self.holds, self.goes_on = Event(), Event()

    def __call__(self, numbers):
        self.asked.append(sorted(numbers))
        if self._holds_at in numbers:
            self.holds.set()
            assert self.goes_on.wait(PATIENCE_SECONDS)
        if 0 in numbers:
            raise ZeroDivisionError("no square of 0 here")
        return [number**2 for number in numbers]


@pytest.fixture
def clients():
    with ThreadPoolExecutor(8) as threads:
        yield threads


def ask_while_one_is_answered(clients, work, numbers):
    """Ask for 9, and for each of `numbers` while that is being answered; return their futures."""
    batches = MicroBatches(work)
    first = clients.submit(batches.ask, 9)
    assert work.holds.wait(PATIENCE_SECONDS)
    others = [clients.submit(batches.ask, number) for number in numbers]
    while len(batches._waiting) < len(numbers):
        pass
    work.goes_on.set()
    assert first.result(PATIENCE_SECONDS) == 81
    return batches, others


def test_a_request_alone_is_answered_at_once():
    batches = MicroBatches(work := Squares())
    assert [batches.ask(3), batches.ask(4)] == [9, 16]
    assert work.asked == [[3], [4]]


def test_requests_that_come_while_another_is_answered_share_one_call_and_get_their_own_answers(clients):
    work = Squares(holds_at=9)
    _, others = ask_while_one_is_answered(clients, work, [3, 1, 2])
    assert [each.result(PATIENCE_SECONDS) for each in others] == [9, 1, 4]
    assert work.asked == [[9], [1, 2, 3]]


def test_a_request_that_fails_fails_no_other_of_its_batch(clients):
    work = Squares(holds_at=9)
    batches, (one, bad, two) = ask_while_one_is_answered(clients, work, [1, 0, 2])
    assert (one.result(PATIENCE_SECONDS), two.result(PATIENCE_SECONDS)) == (1, 4)
    assert isinstance(bad.exception(PATIENCE_SECONDS), ZeroDivisionError)
    assert batches.ask(5) == 25


def test_an_answer_that_is_an_exception_is_raised_for_its_request_alone():
    batches = MicroBatches(lambda numbers: [KeyError(number) if number == 1 else number for number in numbers])
    with pytest.raises(KeyError):
        batches.ask(1)
    assert batches.ask(2) == 2


def test_many_requests_of_many_threads_each_get_their_own_answer(clients):
    batches = MicroBatches(Squares())
    assert list(clients.map(batches.ask, range(1, 2001))) == [number**2 for number in range(1, 2001)]
