"""A regime change on the real drops: what January teaches says nothing about February."""

import csv
import shutil
from datetime import date

import pytest
from mlflow import MlflowClient

from churn.gate import rule
from churn.registry import client as registry
from churn.registry.model_version import MODEL_NAME, PRODUCTION
from churn.training.learned_from import LEARNED_FROM
from churn.training.regime import REGIME_CHANGE, judged_of
from tests.conftest import FEBRUARY, JANUARY
from tests.integration.training_chain import QUICK, Chain, last_report

MARCH = date(2024, 3, 31)


@pytest.fixture
def chain(pipeline_on, real_drops, mlflow_uri, tmp_path):
    """The chain over copies of the real drops; January is in Production."""
    landing = tmp_path / "landing"
    shutil.copytree(real_drops, landing)
    chain = Chain(pipeline_on(landing))
    chain(JANUARY, QUICK)
    return chain


def production() -> list[int]:
    return [int(each.version) for each in MlflowClient().get_latest_versions(MODEL_NAME, [PRODUCTION])]


def test_february_is_learned_alone_and_promoted_and_a_later_date_learns_from_february_on(chain):
    trained, decided, _ = chain(FEBRUARY, QUICK)
    version = trained.figures["version"]
    assert decided.figures["decision"] == rule.PROMOTE
    assert production() == [version]
    assert trained.figures["cohort_auc"] >= 0.66
    assert "the dates before say nothing about 2024-02-29: AUC 0.4" in trained.figures["regime_change"]
    assert decided.reason.startswith(trained.figures["regime_change"])
    tags = registry.get_version(MlflowClient(), version).tags
    assert (tags[LEARNED_FROM], tags["graded_out_of_time"]) == ('["2024-02-29"]', "False")
    assert judged_of(tags).changed
    checks = {each["name"]: each for each in last_report(version)["checks"]}
    assert checks["labels_not_swapped"]["outcome"] == "PASS"

    landing = chain.pipeline.landing
    shutil.copytree(landing / str(FEBRUARY), landing / str(MARCH))
    (landing / str(MARCH) / "_ACCEPT").write_text("February again: nothing changes", encoding="utf-8")
    later = registry.get_version(MlflowClient(), chain(MARCH, QUICK)[0].figures["version"]).tags
    assert later[LEARNED_FROM] == '["2024-02-29", "2024-03-31"]'
    assert (later["graded_out_of_time"], later["graded_on"]) == ("True", str(MARCH))
    assert REGIME_CHANGE not in later


def test_swapped_labels_are_kept_out_and_a_person_is_asked(chain):
    landing = chain.pipeline.landing
    shutil.rmtree(landing / str(FEBRUARY))
    shutil.copytree(landing / str(JANUARY), landing / str(FEBRUARY))
    (landing / str(FEBRUARY) / "manifest.json").unlink(missing_ok=True)
    (landing / str(FEBRUARY) / "_ACCEPT").write_text("January again", encoding="utf-8")
    labels = landing / str(FEBRUARY) / "labels.csv"
    with labels.open(newline="") as file:
        header, *rows = csv.reader(file)
    place, spelled = header.index("churn_label"), sorted({row[header.index("churn_label")] for row in rows})
    other = dict(zip(spelled, reversed(spelled), strict=True))
    with labels.open("w", newline="") as file:
        csv.writer(file).writerows([header, *([*row[:place], other[row[place]], *row[place + 1 :]] for row in rows)])
    trained, decided, _ = chain(FEBRUARY, QUICK)
    report = last_report(trained.figures["version"])
    assert (report["outcome"], report["needs_person"]) == (rule.KEEP, True)
    assert [each["name"] for each in report["checks"] if each["outcome"] == "FAIL"] == ["labels_not_swapped"]
    assert "True and False look swapped" in decided.reason
    assert production() == [1]
