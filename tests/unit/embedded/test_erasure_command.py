"""`make erase` hands ids on by a private file alone."""

import stat
from pathlib import Path
from typing import Any

import pytest

from churn.erasure.request import read_ids
from embedded.commands import erasure
from embedded.commands.airflow_api import AirflowError
from embedded.commands.chain import _state_of
from embedded.commands.in_process import NotDone
from embedded.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"CHURN_HOME": str(tmp_path / "state")})


class Refusing:
    """An Airflow that takes no run; it keeps what it was asked, and which files lay there then."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.asked, self.files = settings, [], []

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> None:
        self.asked.append((dag_id, conf))
        self.files = list(self.settings.erasure.iterdir())
        raise AirflowError("Airflow answered 400", 400)


@pytest.fixture
def airflow(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Refusing:
    found = Refusing(settings)
    monkeypatch.setattr(erasure, "Airflow", lambda _: found)
    monkeypatch.setattr(erasure, "wait_for_dag", lambda *_: None)
    return found


def test_the_parameters_of_the_run_name_no_customer(settings: Settings, airflow: Refusing) -> None:
    with pytest.raises(AirflowError):
        erasure.erase(settings, "7892-POOKP", None, "asked by letter", print)
    ((dag_id, conf),) = airflow.asked
    assert (dag_id, conf["why"], set(conf)) == ("churn_erase", "asked by letter", {"request", "why"})
    assert [path.name for path in airflow.files] == [f"{conf['request']}.ids"]


def test_no_file_of_ids_is_left_where_no_run_began(settings: Settings, airflow: Refusing) -> None:
    with pytest.raises(AirflowError):
        erasure.erase(settings, "7892-POOKP", None, "asked by letter", print)
    assert list(settings.erasure.iterdir()) == []


def test_only_the_owner_reads_the_ids_of_a_file(settings: Settings, tmp_path: Path) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_bytes(b"0280-XJGEX\r\n7892-POOKP\n\n0280-XJGEX\n")
    request = erasure._write(settings, None, listed)
    written = settings.erasure / f"{request}.ids"
    assert written.read_text() == "0280-XJGEX\n7892-POOKP\n"
    assert read_ids(request, settings.erasure) == {"0280-XJGEX", "7892-POOKP"}
    assert (stat.S_IMODE(written.stat().st_mode), stat.S_IMODE(settings.erasure.stat().st_mode)) == (0o600, 0o700)


@pytest.mark.parametrize("content", ["\ufeff7892-POOKP\n0280-XJGEX", "7892-POOKP\r\n0280-XJGEX\r\n"])
def test_a_file_from_a_spreadsheet_has_no_other_ids(settings: Settings, tmp_path: Path, content: str) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_bytes(content.encode())
    assert read_ids(erasure._write(settings, None, listed), settings.erasure) == {"0280-XJGEX", "7892-POOKP"}


def test_only_a_newline_ends_an_id(settings: Settings, tmp_path: Path) -> None:
    """Drops by the first rules may have such ids."""
    listed = tmp_path / "ids.txt"
    listed.write_bytes("a\u0085b\nc\u2028d\n".encode())
    assert read_ids(erasure._write(settings, None, listed), settings.erasure) == {"a\u0085b", "c\u2028d"}


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        ("user_id\n7892-POOKP\n", "line 1 is the header"),
        ('"user_id"\n7892-POOKP\n', "line 1 is the header"),
        ("0280-XJGEX\n7892-POOKP \n", "line 2 begins or ends with a blank"),
        ("0280-XJGEX\n\n\t7892-POOKP\n", "line 3 begins or ends with a blank"),
        ("0280-XJGEX\n\ufeff7892-POOKP\n", "line 2 begins or ends with a blank or a byte order mark"),
        ("0280-XJGEX\r7892-POOKP\r", "line 1 has a carriage return or a newline within"),
    ],
)
def test_a_line_that_would_erase_nobody_is_refused_by_its_number(
    settings: Settings, tmp_path: Path, content: str, refused: str
) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_bytes(content.encode())
    with pytest.raises(NotDone, match=f"nothing is erased: {refused}") as raised:
        erasure._write(settings, None, listed)
    assert "7892" not in str(raised.value)
    assert list(settings.erasure.iterdir()) == []


def test_the_id_of_the_command_line_is_checked_too(settings: Settings) -> None:
    for user, refused in {"7892-POOKP ": "ends with a blank", "7892-POOKP\n0280-XJGEX": "a newline within"}.items():
        with pytest.raises(NotDone, match=refused):
            erasure._write(settings, user, None)


@pytest.mark.parametrize("content", [None, b"", b"\n\n", b"\xff\xfe"], ids=["no file", "empty", "blank", "not UTF-8"])
def test_a_file_without_ids_erases_nothing_and_says_why(
    settings: Settings, tmp_path: Path, content: bytes | None
) -> None:
    listed = tmp_path / "ids.txt"
    if content is not None:
        listed.write_bytes(content)
    with pytest.raises(NotDone, match="nothing is erased: "):
        erasure._write(settings, None, listed)


def test_progress_says_that_a_run_waits_for_a_person() -> None:
    from types import SimpleNamespace

    assert "waits for a person" in _state_of(SimpleNamespace(state="awaiting_input", try_number=1))
    assert _state_of(SimpleNamespace(state="running", try_number=1)) == ""
