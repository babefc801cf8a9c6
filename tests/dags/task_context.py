"""A task is called as Airflow calls it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def in_context(context: Mapping[str, Any]) -> Iterator[None]:
    """Within the block, `context` is what a task finds as that of its run."""
    from airflow.sdk.definitions._internal.contextmanager import _CURRENT_CONTEXT

    _CURRENT_CONTEXT.append(context)
    try:
        yield
    finally:
        _CURRENT_CONTEXT.pop()
