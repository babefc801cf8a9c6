"""`python -m churn.erasure.customer`, which answers a customer on a stack without `make customer`."""

import io
import json
import sys
from datetime import date
from types import SimpleNamespace

import pytest

from churn.erasure.customer import main
from tests.handmade_drops import take_in, write_drop

DAY = date(2024, 1, 31)


@pytest.fixture
def ask(database_url, mlflow_uri, tmp_path, monkeypatch):
    """Run the program with these bytes on standard input, where a drop of the customers a and b is loaded."""
    landing, archive = tmp_path / "landing", tmp_path / "archive"
    take_in(write_drop(landing, DAY, ["a", "b"]), database_url, archive)
    for name, value in {"CHURN_DATABASE_URL": database_url, "LANDING_DIR": landing, "ARCHIVE_DIR": archive}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(sys, "argv", ["customer"])

    def run(given):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(given)))
        main()

    return run


def test_it_prints_what_is_held_of_the_customer_on_standard_input(ask, capsys):
    ask("\ufeffa\r\n".encode())
    found = json.loads(capsys.readouterr().out)
    assert (found["user_id"], found["erased"], found["models"]) == ("a", None, [])
    assert [row["user_id"] for row in found["database"]["raw.users"]] == ["a"]
    assert found["landing directory"]
    assert found["archive"]


@pytest.mark.parametrize("given", [b"", b"a\nb\n"], ids=["nobody", "two"])
def test_it_answers_one_customer_at_a_time(ask, given):
    with pytest.raises(SystemExit, match="give one user_id"):
        ask(given)
