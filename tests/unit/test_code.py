"""A step's digest covers the code that the step runs, and nothing else."""

import re
import shutil

import pytest

from churn import code
from churn.code import step_digest

STEPS = ("churn.drops", "churn.features", "churn.training", "churn.report")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A copy of include/ and the lock. Call it to edit a file and get the changed digests."""
    shutil.copytree(code.INCLUDE, tmp_path / "include", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(code.LOCK, tmp_path)
    monkeypatch.setattr(code, "INCLUDE", tmp_path / "include")
    monkeypatch.setattr(code, "LOCK", tmp_path / code.LOCK.name)

    def digests():
        step_digest.cache_clear()
        return {step: step_digest(step) for step in STEPS}

    before = digests()

    def changed_by(name, pattern, new):
        path = tmp_path / name
        text, count = re.subn(pattern, new, path.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
        assert count == 1, f"{name} has no {pattern}"
        path.write_text(text, encoding="utf-8")
        return {step.removeprefix("churn.") for step, digest in digests().items() if digest != before[step]}

    yield changed_by
    step_digest.cache_clear()


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("include/churn/report/templates/report.html", {"report"}),
        ("include/churn/gate/rule.py", {"report"}),
        ("include/churn/training/recipe.py", {"training", "report"}),
        ("include/churn/features/offline_store.py", {"features", "training", "report"}),
        ("include/feature_repo/definitions.py", {"features", "training", "report"}),
        ("include/sql/training.sql", {"training", "report"}),
        ("include/sql/board.sql", set()),
        ("include/churn/retention/versions.py", set()),
        ("include/churn/as_of.py", {"drops", "features", "training", "report"}),
    ],
)
def test_a_changed_file_changes_the_steps_that_run_it(checkout, name, steps):
    assert checkout(name, r"\Z", "\n") == steps


@pytest.mark.parametrize(
    ("library", "steps"),
    [
        ("scikit-learn", {"training", "report"}),
        ("fsspec", {"drops", "report"}),
        ("apache-airflow-providers-common-sql", set()),
    ],
)
def test_another_locked_version_changes_the_steps_that_import_the_library(checkout, library, steps):
    assert checkout("requirements.txt", rf"^{library}==[\d.]+", f"{library}==0.1") == steps
