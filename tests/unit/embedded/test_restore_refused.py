"""Restores and backups that are refused before anything is written."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from churn.postgres.migrate import known_migrations
from embedded.operator.backup import FORMAT, PACKAGES, BackupError, backup
from embedded.operator.restore import restore
from embedded.settings import Settings, load_settings
from embedded.stack import postgres_tools
from embedded.stack.postgres import PostgresError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"CHURN_HOME": str(tmp_path / "home")})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A minimal backup."""
    directory = tmp_path / "backup"
    directory.mkdir()
    (directory / "churn.dump").write_bytes(b"rows")
    write(directory)
    return directory


def write(directory: Path, **other: Any) -> None:
    said = {
        "format": FORMAT,
        "made_at": "2024-02-01T00:00:00+00:00",
        "postgres": 18,
        "packages": {name: version(name) for name in PACKAGES},
        "migrations": known_migrations(),
        "files": {"churn.dump": hashlib.sha256(b"rows").hexdigest()},
    }
    (directory / "manifest.json").write_text(json.dumps({**said, **other}))


def refused(settings: Settings, source: Path, why: str) -> None:
    with pytest.raises(BackupError, match=why):
        restore(settings, source, print)
    assert not settings.home.with_name("home.restoring").exists()


def test_a_directory_without_a_manifest_is_no_backup(settings: Settings, source: Path) -> None:
    (source / "manifest.json").unlink()
    refused(settings, source, "is not a backup")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}'])
def test_an_incomplete_manifest_is_refused(settings: Settings, source: Path, text: str) -> None:
    (source / "manifest.json").write_text(text)
    refused(settings, source, "is not a backup")


def test_a_backup_of_another_format_is_refused(settings: Settings, source: Path) -> None:
    write(source, format=FORMAT + 1)
    refused(settings, source, f"backup format {FORMAT + 1}")


def test_a_changed_file_is_found(settings: Settings, source: Path) -> None:
    (source / "churn.dump").write_bytes(b"rowz")
    refused(settings, source, "damaged: .*churn.dump")


def test_a_missing_file_is_found(settings: Settings, source: Path) -> None:
    (source / "churn.dump").unlink()
    refused(settings, source, "incomplete: .*churn.dump is missing")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_backup_of_a_newer_package_is_refused(settings: Settings, source: Path, package: str) -> None:
    write(source, packages={package: "99.0"})
    refused(settings, source, f"written by {package} 99.0, and {version(package)} is installed; check out")


@pytest.mark.parametrize("name", ["9999_later", "0001_schemas"])
def test_a_migration_that_this_checkout_does_not_know_is_refused(settings: Settings, source: Path, name: str) -> None:
    write(source, migrations={name: "0" * 64})
    refused(settings, source, f"migration {name}, which this checkout lacks")


def test_a_non_empty_home_is_refused_and_left_alone(settings: Settings, source: Path) -> None:
    settings.home.mkdir()
    (settings.home / "thesis.txt").write_text("years of work")
    refused(settings, source, "is not empty")
    assert (settings.home / "thesis.txt").exists()


def test_a_mount_point_is_refused_as_home(source: Path) -> None:
    refused(load_settings({"CHURN_HOME": "/proc"}), source, "/proc is a mount point, .*like /proc/churn")


def test_a_backup_to_an_existing_path_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="exists: name a new directory"):
        backup(settings, tmp_path, print)


def test_a_stack_that_is_down_is_not_backed_up(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="make up starts the stack"):
        backup(settings, tmp_path / "to", print)


def test_client_tools_of_another_version_than_the_servers_are_refused() -> None:
    with pytest.raises(PostgresError, match=r"the server is Postgres 99, the client tools are of .*16, 18"):
        postgres_tools.directory(99)
