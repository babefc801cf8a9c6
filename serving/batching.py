"""Micro-batching: concurrent single predictions share one read and one predict call. The first request leads: it
answers all waiting requests, then hands over to the next (group commit; Crankshaw et al., Clipper, NSDI 2017)."""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class _Request(Generic[Asked, Answer]):
    """A waiting request. `turn` is released when the request is answered or becomes the leader."""

    def __init__(self, asked: Asked) -> None:
        self.asked, self.answer = asked, list[Answer | Exception]()
        self.turn = Lock()
        self.turn.acquire()


class MicroBatches(Generic[Asked, Answer]):
    """The micro-batches of a process. `answer_all` returns an answer, or the exception to raise, for each request in
    order. If it raises for a batch, each request is retried alone, so that one cannot fail the others."""

    def __init__(self, answer_all: Callable[[Sequence[Asked]], Sequence[Answer | Exception]]) -> None:
        self._answer_all = answer_all
        self._lock, self._has_leader = Lock(), False
        self._waiting: list[_Request[Asked, Answer]] = []

    def ask(self, asked: Asked) -> Answer:
        """Return the answer to `asked`, or raise its exception."""
        request = _Request[Asked, Answer](asked)
        with self._lock:
            self._waiting.append(request)
            follows, self._has_leader = self._has_leader, True
        if follows:
            request.turn.acquire()
        if not request.answer:
            self._lead()
        if isinstance(answer := request.answer[0], Exception):
            raise answer
        return answer

    def _lead(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        for request, answer in zip(batch, self._answers([each.asked for each in batch]), strict=True):
            request.answer.append(answer)
        with self._lock:
            next_leader = self._waiting[:1]
            self._has_leader = bool(next_leader)
        for request in batch + next_leader:
            request.turn.release()

    def _answers(self, asked: list[Asked]) -> Sequence[Answer | Exception]:
        try:
            return self._answer_all(asked)
        except Exception as error:
            return [error] if len(asked) == 1 else [self._answers([each])[0] for each in asked]
