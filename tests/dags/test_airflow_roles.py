"""Airflow's API grants each role what docs/containers.md says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROLES = ("Public", "Viewer", "User", "Op", "Admin")
ANYBODY, TEAM, OPERATORS, ADMIN = ROLES[1:], ROLES[2:], ROLES[3:], ROLES[4:]
MAY = {
    **dict.fromkeys(
        ("see dags", "see runs", "see logs", "see XComs", "see pools", "see the figures of a list"), ANYBODY
    ),
    "see the health of the model": ANYBODY,
    **dict.fromkeys(("trigger", "backfill", "clear", "answer", "pause", "delete"), TEAM),
    **dict.fromkeys(("see customers", "download customers"), TEAM),
    **dict.fromkeys(("connections", "variables", "make pools", "write XComs"), OPERATORS),
    **dict.fromkeys(("audit log", "users"), ADMIN),
    "configuration": (),
}
"""Who may what; nobody sees the configuration, which [api] expose_config keeps from all."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": f"{REPOSITORY / 'include'}:{REPOSITORY}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(REPOSITORY / "containers" / "airflow" / "airflow.cfg"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "SERVING_URL": "http://serving.invalid",
    }
    command = [sys.executable, str(Path(__file__).parent / "role_answers.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("question", MAY)
def test_each_role_has_exactly_the_permissions_of_the_manual(question, answers):
    may = [role for role in ROLES if answers[role][question] not in {401, 403}]
    assert (may, set(answers) - set(ROLES)) == (list(MAY[question]), set())


@pytest.mark.parametrize("role", ANYBODY)
def test_every_role_sees_the_pages_the_links_and_required_actions(role, answers):
    assert {"Gate board", "At risk", "Health", "Churn API"} <= set(answers[role]["plugins"])
    assert {"Dags", "Required Actions"} <= set(answers[role]["menu"])
