"""A step runs in a process of its own, and what it raises is raised here."""

from types import SimpleNamespace

import pytest

from bench import BenchError
from bench.measure import measure

QUIET = SimpleNamespace(settle=lambda: None, backend_bytes=lambda: 0)


class OfJava(Exception):
    """As Py4J's errors: it cannot be pickled, and its text comes from elsewhere."""

    def __init__(self, connection):
        super().__init__()
        self.connection = connection

    def __str__(self):
        return self.connection()


def refuse(_):
    raise ValueError("the drop is empty")


def fail_in_java(_):
    raise OfJava(lambda: "java.lang.OutOfMemoryError: Java heap space")


def test_an_error_of_a_step_is_raised_here():
    with pytest.raises(ValueError, match="the drop is empty"):
        measure(QUIET, refuse)


def test_an_error_that_cannot_be_sent_is_raised_with_its_text():
    with pytest.raises(BenchError, match=r"OfJava: java\.lang\.OutOfMemoryError: Java heap space"):
        measure(QUIET, fail_in_java)
