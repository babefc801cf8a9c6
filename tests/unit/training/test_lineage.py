"""The recorded environment of a version, compared with the current one."""

import copy

import pytest

from churn.code import git_commit
from churn.training.environment import environment, environment_differences
from churn.training.lineage import code, code_differences, commit_differences, queries


@pytest.fixture
def lineage():
    return copy.deepcopy({"code": code(), "queries": queries(), "environment": environment()})


def test_a_lineage_of_this_environment_has_no_difference(lineage):
    assert not [*environment_differences(lineage["environment"]), *code_differences(lineage)]
    assert not [each for each in commit_differences(lineage) if "commit was" in each]


@pytest.mark.parametrize(
    ("where", "name", "then", "said"),
    [
        ((), "lock", "0" * 64, "lock was 000"),
        ((), "python", "3.11.0", "python was 3.11.0, is 3"),
        ((), "blas", ["openblas 0.1", "mkl 1"], "blas was openblas 0.1 and mkl 1, is "),
        (("libraries",), "scikit-learn", "0.1", "scikit-learn was 0.1, is "),
        (("libraries",), "gone", "0.1", "gone was 0.1, is absent"),
        (("machine",), "cpu", "Z80", "cpu was Z80, is "),
        (("machine",), "cores", 1024, "cores was 1024, is "),
    ],
)
def test_each_part_of_the_environment_that_differs_is_named_with_both_values(lineage, where, name, then, said):
    part = lineage["environment"]
    for key in where:
        part = part[key]
    part[name] = then
    [difference] = environment_differences(lineage["environment"])
    assert difference.startswith(said)


def test_a_library_that_was_not_recorded_is_named(lineage):
    del lineage["environment"]["libraries"]["numpy"]
    [difference] = environment_differences(lineage["environment"])
    assert difference.startswith("numpy was absent, is ")


def test_changed_code_is_named_with_the_changed_queries(lineage):
    lineage["code"]["digest"] = "1" * 64
    lineage["queries"]["training/entities.sql"] = "SELECT"
    lineage["queries"]["training/gone.sql"] = "SELECT"
    [difference] = code_differences(lineage)
    assert "111111111111…" in difference
    assert "training/entities and training/gone" in difference


def test_a_dirty_tree_and_another_commit_are_named(lineage):
    lineage["code"] |= {"commit": "2" * 40, "clean": False}
    said = [*commit_differences(lineage)]
    assert said[0].startswith("the commit was 222222222222, is ")
    assert said[1].startswith("the tree was not clean: its commit 222222222222 ")


def test_an_image_names_its_commit(monkeypatch):
    monkeypatch.setenv("CHURN_GIT_COMMIT", "0123abc-dirty")
    assert git_commit.__wrapped__() == "0123abc-dirty"
