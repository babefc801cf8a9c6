"""Chains that tests begin with, made once and copied."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import JANUARY, database_copy, mlflow_at
from tests.integration.conftest import Pipeline
from tests.integration.fault_registry import Registry, registry_copy
from tests.integration.training_chain import Chain

Begun = tuple[Callable[[Chain], Any], ...]
"""The steps that a chain begins with."""


class Chains:
    """Chains over the same drops. What several tests begin with is done once, and copied for each of them."""

    def __init__(self, postgres_url: Callable[[str], str], templates: tuple[str, str], landing: Path, directory: Path):
        self._postgres_url, self._templates = postgres_url, templates
        self._landing, self._directory = landing, directory
        self._kept = contextlib.ExitStack()
        self._made: dict[Begun, tuple[Registry, Any]] = {}

    @contextlib.contextmanager
    def after(self, begun: Begun, archive: Path) -> Iterator[Chain]:
        """A chain of the test's own after these steps; `chain.steps` is the result of the last of them."""
        world, steps = self._after(begun)
        # Connections to the original are closed; runs of MLflow lie beside each other in one directory.
        with registry_copy(world, self._postgres_url) as copy, self._talking_to(copy):
            shutil.copytree(self._archive(begun), archive, dirs_exist_ok=True)
            chain = Chain(Pipeline(copy.database_url, self._landing, archive))
            chain.steps = steps
            yield chain

    def _after(self, begun: Begun) -> tuple[Registry, Any]:
        if begun in self._made:
            return self._made[begun]
        archive = self._archive(begun)
        if not begun:
            archive.mkdir()
            urls = [self._kept.enter_context(database_copy(self._postgres_url, each)) for each in self._templates]
            mlflow_uri = urls[1].replace("postgresql://", "postgresql+psycopg2://")
            self._made[begun] = Registry(urls[0], mlflow_uri, self._directory, JANUARY), None
            return self._made[begun]
        *before, last = begun
        world, _ = self._after(tuple(before))
        world = self._kept.enter_context(registry_copy(world, self._postgres_url))
        shutil.copytree(self._archive(tuple(before)), archive)
        with self._talking_to(world):
            self._made[begun] = world, last(Chain(Pipeline(world.database_url, self._landing, archive)))
        return self._made[begun]

    def _archive(self, begun: Begun) -> Path:
        return self._directory / "-".join(["archive", *(each.__name__ for each in begun)])

    @contextlib.contextmanager
    def _talking_to(self, world: Registry) -> Iterator[None]:
        with contextlib.chdir(self._directory), mlflow_at(world.mlflow_uri):
            yield

    def close(self) -> None:
        self._kept.close()


def begun(*steps: Callable[[Chain], Any]) -> pytest.MarkDecorator:
    """Mark a test whose fixture `chain` begins with these steps."""
    return pytest.mark.parametrize("chain", [steps], indirect=True, ids=["-".join(step.__name__ for step in steps)])
