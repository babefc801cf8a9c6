"""Variables on the command line of `make` reach the program unchanged."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
ODD = [
    "7892-POOKP", "A$B", "A$$B", "$(HOME)", "${HOME}", "a b", "it's", 'say "no"', "`id`", "$(shell id)", "a;id", "a\\b",
    "a\\", "#1", "a%b", "-x", "--help", "*", "é\N{BROKEN HEART}", "a=b", "a&&b", "~", "a\nb", "x,y", "(x", ")",
]  # fmt: skip
FIRST, LAST = "2024-01-30", "2024-02-29"

SAYS_ITS_WORDS = "import json, sys; print(json.dumps(sys.argv[1:]))"
PARSES_THEM = """
import json
from embedded.__main__ import _parser
print(json.dumps(vars(_parser().parse_args()), default=str))
"""


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., Any]:
    """The arguments that `make` passes to a fake `python -m embedded`."""

    def make(*arguments: str, program: str = SAYS_ITS_WORDS, **environment: str) -> Any:
        file = tmp_path / "program.py"
        file.write_text(program)
        done = run_make(*arguments, f"EMBEDDED={sys.executable} {file}", **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return make


def run_make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # -o: what is installed stays as it is.
    return subprocess.run(
        ["make", "--silent", "-o", ".venv/.up-to-date", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'include'}:{REPOSITORY}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_an_id_and_a_reason_reach_the_program_unchanged(given, text):
    assert given("predict", f"USER={text}") == ["predict", "--", text]
    assert given("release", f"WHY={text}") == ["release", f"--why={text}"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["predict", "USER=-x"], {"user": "-x"}),
        (["release", "WHY=--help"], {"why": "--help"}),
        (["run", "DROPS=a $d"], {"drops": "a $d"}),
        (["run"], {"drops": None}),
        (["trigger", f"AS_OF={FIRST}"], {"as_of": FIRST}),
        (["backfill", f"FROM={FIRST}", f"TO={LAST}"], {"first": FIRST, "last": LAST}),
        (["rollback", "VERSION=3", "WHY=a $b"], {"version": 3, "why": "a $b"}),
        (["rollback"], {"version": None, "why": None}),
        (["trust", "VERSION=3", "WHY=a $b"], {"version": 3, "why": "a $b"}),
        (["reproduce", "VERSION=3"], {"version": 3}),
        (["erase", "USER=-a $d", "WHY=a $b"], {"user": "-a $d", "users": None, "why": "a $b"}),
        (["erase", "USERS=-a $d", "WHY=--help"], {"user": None, "users": "-a $d", "why": "--help"}),
        (["customer", "USER=-a $d"], {"user": "-a $d"}),
        (["backup", "TO=-a $d"], {"to": "-a $d"}),
        (["restore", "FROM='$d'"], {"source": "'$d'"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_command_parses_its_variables(given, arguments, expected):
    assert given(*arguments, program=PARSES_THEM) == {"command": arguments[0], **expected}


def test_environment_variables_reach_the_program_unchanged(given):
    assert given("release", WHY="$(shell id) 'x") == ["release", "--why=$(shell id) 'x"]


def test_a_setting_on_the_command_line_reaches_the_program_unchanged():
    done = run_make("env", "CHURN_POSTGRES=postgresql://me:pa$$wd@db/x", "EMBEDDED=env | grep ^CHURN_POSTGRES= #")
    assert done.stdout == "CHURN_POSTGRES=postgresql://me:pa$$wd@db/x\n"


@pytest.mark.parametrize("target", ["predict", "erase", "customer"])
def test_user_from_the_environment_is_not_used_as_a_customer(target):
    assert f"say which: make {target} USER=" in run_make(target, WHY="why", USER="root").stderr


def test_an_erasure_is_of_one_customer_or_of_a_file():
    assert "say either USER or USERS" in run_make("erase", "USER=a", "USERS=b", "WHY=why").stderr


@pytest.mark.parametrize("target", ["trigger", "backfill", "trust", "erase", "reproduce", "backup", "restore"])
def test_a_missing_argument_is_named(target):
    assert f"say which: make {target} " in run_make(target).stderr


def test_no_recipe_expands_variables_into_the_shell_command():
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    recipes = [line for line in text.splitlines() if line.startswith("\t@$(EMBEDDED)")]
    assert len(recipes) > 10
    harmless = r"\$\(EMBEDDED\)|\$\(if \$\(value [A-Z_]+\),"
    assert [line for line in recipes if "$(" in re.sub(harmless, "", line)] == []
