"""A disk that is full, at every amount of space that is left until there is enough: the step fails and says why, what
was there before is there and served, and with space a retry ends as if nothing had happened."""

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

from tests.conftest import database_copy
from tests.handmade_drops import write_drop
from tests.integration.fault_world import (
    D31,
    F29,
    World,
    about_to,
    copy_of,
    everything,
    run_load,
    run_materialize,
    run_snapshot,
    run_up_to,
    run_validate,
    served,
    tables,
    write_february,
    write_january,
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
    """Fill the disk but for so many bytes."""
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
    directory = tmp_path_factory.mktemp("corrected")
    (directory / "archive").mkdir()
    write_january(directory / "landing")
    write_february(directory / "landing")
    with database_copy(postgres_url, churn_template) as url:
        world = World(url, directory / "landing", directory / "archive", D31)
        run_up_to(world)
        run_up_to(replace(world, as_of=F29))
        write_drop(world.landing, F29, MANY)
        yield replace(world, as_of=F29)


def test_a_full_archive_fails_validate_and_loses_nothing(corrected, postgres_url, tmp_path):
    with copy_of(corrected, postgres_url, tmp_path / "undisturbed") as undisturbed:
        run_validate(undisturbed)
        end = everything(undisturbed)
    with small_disk(tmp_path / "disk", 1) as disk:
        for fails in itertools.count():
            with copy_of(corrected, postgres_url, disk) as world:
                old = everything(world)
                try:
                    with filled(disk, fails * 4096):
                        run_validate(world)
                except OSError as error:
                    assert "No space left on device" in str(error)  # noqa: PT017 — some amount of space is enough
                    assert everything(world) == old
                else:
                    break
                run_validate(world)
                assert everything(world) == end
    assert fails >= 3


@contextmanager
def copy_on(disk, world, postgres_url, directory):
    """A copy of the world whose database lies on that disk."""
    with (
        copy_of(world, postgres_url, directory) as copy,
        psycopg.connect(postgres_url("postgres"), autocommit=True) as connection,
    ):
        (name,) = (psycopg.conninfo.conninfo_to_dict(copy.database_url)["dbname"],)
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
        for fails in itertools.count():
            with copy_on(disk, start, postgres_url, tmp_path / "copy") as world:
                old = reader(world)
                try:
                    with filled(disk, fails * 65536):
                        step(world)
                except Exception as error:
                    assert "No space left on device" in str(error)  # noqa: PT017 — some amount of space is enough
                    assert reader(world) == old
                else:
                    break
                step(world)
                assert reader(world) == new
                assert everything(world) == end
        connection.execute("DROP TABLESPACE small")
    directory.rmdir()
    assert fails >= 1
