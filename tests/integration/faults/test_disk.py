"""A full disk fails a step with the reason; the old state stays served, and a retry with space completes the step."""

import itertools
import os
import pwd
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.handmade_drops import accept, write_drop
from tests.integration.faults.fault_world import (
    F29,
    about_to,
    copy_of,
    everything,
    new_world,
    run_load,
    run_materialize,
    run_snapshot,
    run_up_to,
    run_validate,
    served,
    tables,
)

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small file system needs root"
)


MANY = {**{user: {"months_active": "3"} for user in "ace"}, **{f"user {n}": {} for n in range(600)}}
"""A drop that needs more room than the pages of a small one have left."""


@contextmanager
def small_disk(path, megabytes, owner=0):
    path.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,uid={owner},mode=700", "tmpfs", str(path)], check=True
    )
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@contextmanager
def filled(disk, left):
    """Fill the disk up to `free` bytes."""
    ballast = disk / "ballast"
    found = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(found.f_bavail * found.f_frsize - left, 1))
    try:
        yield
    finally:
        ballast.unlink()


@pytest.fixture(scope="module")
def corrected(postgres_url, churn_template, tmp_path_factory):
    """February is served, and its drop was corrected."""
    with new_world(postgres_url, churn_template, tmp_path_factory.mktemp("corrected")) as world:
        run_up_to(world)
        run_up_to(replace(world, as_of=F29))
        accept(write_drop(world.landing, F29, MANY))
        yield replace(world, as_of=F29)


def run_with_ever_more_room(step, disk, by, copied, reader, new, end):
    """Run the step in copies of its world with `by` more bytes each until it succeeds; return the failures."""
    for fails in itertools.count():
        with copied() as world:
            old = reader(world)
            try:
                with filled(disk, fails * by):
                    step(world)
            except Exception as error:
                assert "No space left on device" in str(error)  # noqa: PT017 — some amount of space is enough
                assert reader(world) == old
            else:
                return fails
            step(world)
            assert reader(world) == new
            assert everything(world) == end
    raise AssertionError


def test_a_full_archive_fails_validate_and_loses_nothing(corrected, postgres_url, tmp_path):
    with copy_of(corrected, postgres_url, tmp_path / "undisturbed") as undisturbed:
        run_validate(undisturbed)
        end = everything(undisturbed)
    with small_disk(tmp_path / "disk", 1) as disk:

        def copied():
            return copy_of(corrected, postgres_url, disk)

        assert run_with_ever_more_room(run_validate, disk, 4096, copied, everything, end, end) >= 3


@contextmanager
def copy_on_small_disk(world, postgres_url, directory):
    """A copy of the world with its database in the tablespace `small`."""
    with (
        copy_of(world, postgres_url, directory) as copy,
        psycopg.connect(postgres_url("postgres"), autocommit=True) as connection,
    ):
        name = psycopg.conninfo.conninfo_to_dict(copy.database_url)["dbname"]
        connection.execute(sql.SQL("ALTER DATABASE {} SET TABLESPACE small").format(sql.Identifier(name)))
        yield copy


@pytest.mark.parametrize(
    ("step", "reader"),
    [(run_load, tables), (run_snapshot, tables), (run_materialize, served)],
    ids=["load", "snapshot", "materialize"],
)
def test_a_full_database_fails_a_step_and_loses_nothing(step, reader, corrected, postgres_url, tmp_path):
    # Postgres' own user must be able to reach it.
    directory = Path("/tmp") / f"churn-disk-{os.getpid()}"
    with (
        small_disk(directory, 64, pwd.getpwnam("pgserver").pw_uid) as disk,
        about_to(step, corrected, postgres_url, tmp_path / "before") as start,
        psycopg.connect(postgres_url("postgres"), autocommit=True) as connection,
    ):
        with copy_of(start, postgres_url, tmp_path / "undisturbed") as undisturbed:
            step(undisturbed)
            new, end = reader(undisturbed), everything(undisturbed)
        connection.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(disk))))

        def copied():
            return copy_on_small_disk(start, postgres_url, tmp_path / "copy")

        assert run_with_ever_more_room(step, disk, 65536, copied, reader, new, end) >= 1
        connection.execute("DROP TABLESPACE small")
    directory.rmdir()
