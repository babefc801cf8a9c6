"""Requests that come at the same time are answered by one read and one scoring.

The server's worker lets each request come as far as to know what it asks for, and then answers all of them: nobody
waits for others to come, and the more come the less each costs. Databases write logs like that (group commit), and
prediction services score like that (Crankshaw et al., Clipper, NSDI 2017: adaptive batching).
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from greenlet import getcurrent, greenlet

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Gathering(Generic[Asked, Answer]):
    """What the requests of a process ask for, `answer_all` of them at a time.

    Args:
        answer_all: returns the answer to each of what is asked, in the order of that. Where it raises for several, it
            is asked for each alone: one must not spoil the others' answers.
    """

    def __init__(self, answer_all: Callable[[Sequence[Asked]], Sequence[Answer]]) -> None:
        self._answer_all = answer_all
        self._waiting: list[tuple[greenlet, Asked]] = []

    def ask(self, asked: Asked) -> Answer:
        """Return the answer to `asked`: together with the others' where this request is a greenlet of the worker, and
        else at once."""
        request = getcurrent()
        if request.parent is None:
            (answer,) = self._answer_all([asked])
            return answer
        self._waiting.append((request, asked))
        return request.parent.switch()

    def answer(self) -> None:
        """Answer all who ask; for the worker, when it has begun with every request that is there."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._answer(waiting)

    def _answer(self, waiting: list[tuple[greenlet, Asked]]) -> None:
        requests, asked = zip(*waiting, strict=True)
        try:
            answered = list(zip(requests, self._answer_all(asked), strict=True))
        except Exception as error:
            if len(waiting) == 1:
                requests[0].throw(type(error), error, error.__traceback__)
                return
            for each in waiting:
                self._answer([each])
        else:
            for request, answer in answered:
                request.switch(answer)
