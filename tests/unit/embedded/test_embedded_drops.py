"""Drops are copied to the landing directory."""

from datetime import date
from pathlib import Path

import pytest

from embedded.commands.drops import DropsError, find_drops, land
from embedded.commands.prediction import any_customer


def write_drop(directory: Path, as_of: str, users: str = "user_id\n1-A\n") -> Path:
    drop = directory / as_of
    drop.mkdir(parents=True)
    (drop / "users.csv").write_text(users, encoding="utf-8")
    return drop


def test_drops_come_oldest_first_and_other_entries_do_not_count(tmp_path: Path) -> None:
    for name in (
        "2024-02-29",
        "2023-12-31",
        "2024-01-31",
        "notes",
        "2024-13-01",
        "20240131",
        ".incoming-2024-03-31",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / "2024-04-30").write_text("not a directory", encoding="utf-8")
    assert list(find_drops(tmp_path)) == [date(2023, 12, 31), date(2024, 1, 31), date(2024, 2, 29)]


@pytest.mark.parametrize("name", ["empty", "absent"])
def test_a_directory_without_a_drop_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DropsError, match=name):
        find_drops(tmp_path / name)


def test_a_new_drop_lands_with_its_content_and_nothing_else(tmp_path: Path) -> None:
    assert land(write_drop(tmp_path / "from", "2024-01-31"), tmp_path / "landing")
    assert [path.name for path in (tmp_path / "landing").iterdir()] == ["2024-01-31"]
    assert (tmp_path / "landing/2024-01-31/users.csv").read_text() == "user_id\n1-A\n"


def test_landing_the_same_drop_again_touches_nothing(tmp_path: Path) -> None:
    drop, landing = write_drop(tmp_path / "from", "2024-01-31"), tmp_path / "landing"
    land(drop, landing)
    inode = (landing / drop.name).stat().st_ino
    assert not land(drop, landing)
    assert (landing / drop.name).stat().st_ino == inode


def test_a_changed_drop_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    old = write_drop(tmp_path / "old", "2024-01-31")
    (old / "labels.csv").write_text("user_id,churn_label\n", encoding="utf-8")
    land(old, landing)
    assert land(write_drop(tmp_path / "new", "2024-01-31", "user_id\n2-B\n"), landing)
    assert [path.name for path in (landing / "2024-01-31").iterdir()] == ["users.csv"]
    assert any_customer(landing / "2024-01-31") == "2-B"


def test_the_remains_of_an_interrupted_copy_are_replaced(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    write_drop(landing, ".incoming-2024-01-31", "half a file")
    assert land(write_drop(tmp_path / "from", "2024-01-31"), landing)
    assert [path.name for path in landing.iterdir()] == ["2024-01-31"]


def test_a_byte_order_mark_is_no_part_of_a_customers_id(tmp_path: Path) -> None:
    assert any_customer(write_drop(tmp_path, "2024-01-31", "\ufeffuser_id\r\n3-C\r\n")) == "3-C"


def test_a_directory_with_a_drop_of_a_date_after_today_is_refused_with_its_path(tmp_path: Path) -> None:
    for name in ("2024-01-31", "2124-02-29"):
        (tmp_path / name).mkdir()
    with pytest.raises(DropsError, match="/2124-02-29: AS_OF 2124-02-29 is after today"):
        find_drops(tmp_path)
