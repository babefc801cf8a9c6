"""The model card of a decision: real Postgres, Feast and MLflow, generated drops."""

import json
import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser

import mlflow
import pytest
from mlflow import MlflowClient

from churn.gate import promotion
from churn.gate.grading import grade
from churn.outcome import DONE, UNCHANGED
from churn.registry import client as registry
from churn.registry.model_version import MODEL_NAME
from churn.report import model_card
from churn.report.model_card import NotDecided, write_report
from churn.synthetic.generate import write_drops
from churn.training import recipe
from churn.training import train as training
from churn.training.train import train
from churn.value import Value
from tests.conftest import database_copy, tracking
from tests.integration.conftest import Pipeline

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
QUICK = recipe.Parameters(families=("logistic regression",))
PICTURES = ["auc_difference", "calibration", "importance", "precision_recall", "roc", "scores", "slices"]


class Decided:
    """Two months, each trained and decided on; the first was promoted, the second is the one to report on."""

    def __init__(self, pipeline, directory):
        self.database_url, self.directory = pipeline.database_url, directory
        for as_of in (JANUARY, FEBRUARY):
            pipeline.serve(as_of)
            figures = train(as_of, self.database_url).figures
            decided = grade(figures["version"], self.database_url)
            if as_of == JANUARY:
                said = decided.figures
                promotion.promote(1, said["production_version"], decided.reason, self.database_url)
        self.version, self.run_id = figures["version"], figures["run_id"]
        pipeline.snapshot(MARCH)
        self.undecided = train(MARCH, self.database_url).figures["version"]

    def report(self, version=None):
        return write_report(version or self.version, self.database_url)

    def tag(self, name, value):
        MlflowClient().set_model_version_tag(MODEL_NAME, str(self.version), name, value)

    @property
    def files(self):
        directory = self.directory / "downloaded"
        path = mlflow.artifacts.download_artifacts(
            run_id=self.run_id, artifact_path="decisions/2", dst_path=str(directory)
        )
        root = directory / path
        return {str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*") if each.is_file()}

    @property
    def page(self):
        return self.files["report.html"].decode()


@pytest.fixture(scope="module")
def decided(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    directory = tmp_path_factory.mktemp("decided")
    drops = tmp_path_factory.mktemp("drops")
    write_drops(drops, customers=2500, months=3, seed=5)
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory),
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(training.recipe, "Parameters", lambda: QUICK)
        decided = Decided(Pipeline(database_url, drops, directory / "archive"), directory)
        decided.first = decided.report()
        yield decided


def test_a_report_is_a_page_and_its_pictures(decided):
    assert decided.first.outcome == DONE
    assert decided.first.figures["report"] == "decisions/2/report.html"
    pictures = sorted(name for name in decided.files if name.startswith("pictures/"))
    assert pictures == [f"pictures/{name}.svg" for name in PICTURES]
    assert all(len(content) < 60_000 for name, content in decided.files.items() if name.startswith("pictures/"))


def test_the_page_says_what_was_decided_with_every_check_and_the_figures(decided):
    report = json.loads(mlflow.artifacts.load_text(f"runs:/{decided.run_id}/decisions/2/report.json"))
    text = text_of(decided.page)
    assert report["outcome"] in text
    assert report["reason"] in text
    assert report["checks"]
    for check in report["checks"]:
        assert check["sentence"] in text
    for each in report["slices"]:
        assert each["name"] in text
    auc = report["candidate"]["auc"]
    assert f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})" in text


def test_the_page_describes_the_training_data_of_the_model(decided):
    text = text_of(decided.page)
    tags = registry.get_version(MlflowClient(), decided.version).tags
    for tag in ("data_digest", "code_digest", "git_commit", "feature_service", "threshold"):
        assert tags[tag] in text
    for as_of, digest in json.loads(tags["drops"]).items():
        assert as_of in text
        assert digest in text
    for feature in json.loads(mlflow.artifacts.load_text(f"runs:/{decided.run_id}/feature_schema.json")):
        assert feature in text
    assert "logistic regression (C 1.0)" in text
    assert "chosen" in text


def test_the_page_says_that_the_threshold_was_chosen_by_f1(decided):
    text = text_of(decided.page)
    assert "for the highest F1" in text
    assert "expected profit" not in text


def test_the_page_says_by_which_value_the_threshold_was_chosen_and_that_it_is_an_assumption(decided):
    trained = train(JANUARY, decided.database_url, replace(QUICK, value=Value(10, 0.3, 200))).figures
    grade(trained["version"], decided.database_url)
    said = decided.report(trained["version"])
    text = text_of(mlflow.artifacts.load_text(f"runs:/{trained['run_id']}/{said.figures['report']}"))
    section = text[text.index("Threshold says churn from") :]
    version = registry.get_version(MlflowClient(), trained["version"])
    assert section.startswith(
        f"Threshold says churn from {version.tags['threshold']} chosen out of fold for the highest expected profit "
        "cost of a contact 10 success rate 0.3 margin of a kept customer 200 "
        f"expected profit per customer gate cohort {trained['cohort_expected_profit']:.4g} out of fold, where it was "
        f"chosen {trained['out_of_fold_expected_profit']:.4g} "
        f"EMPC, per customer gate cohort {trained['cohort_empc']:.4g} out of fold {trained['out_of_fold_empc']:.4g} "
    )
    assert "an assumption as long as no campaign has measured the success rate against its control arm" in section
    assert "highest F1" not in text


def test_the_page_needs_no_script_and_no_other_file(decided):
    page = Page(decided.page)
    assert "script" not in page.tags
    assert page.tags.count("svg") == len(PICTURES)
    assert all(link.startswith("#") for link in page.links)
    ids = page.ids
    assert len(ids) == len(set(ids))
    assert not re.search(r"@import|url\((?!#)", decided.page)


def test_writing_a_report_again_changes_nothing(decided):
    before = decided.files
    assert decided.report().outcome == UNCHANGED
    assert decided.files == before


def test_an_unfinished_report_is_rewritten_to_the_same_bytes(decided, monkeypatch):
    before = decided.files
    MlflowClient().log_text(decided.run_id, "cut short", f"decisions/2/{model_card.SEAL}")
    monkeypatch.setattr(model_card, "importance_of", None)  # what was worked out once is not worked out again
    assert decided.report().outcome == DONE
    assert decided.files == before


def test_importance_is_of_the_registered_model_and_names_every_feature(decided):
    found = json.loads(decided.files["importance.json"])
    schema = mlflow.artifacts.load_dict(f"runs:/{decided.run_id}/feature_schema.json")
    assert found["features"] == list(schema)
    assert 0.5 < found["auc"] < 1
    assert max(found["mean"]) > 0.01


def test_what_the_registry_says_is_escaped_and_a_superseded_version_says_so(decided):
    decided.tag("superseded", "<script>alert(1)</script> & the drops changed")
    try:
        assert decided.report().outcome == DONE
        page = decided.page
    finally:
        MlflowClient().delete_model_version_tag(MODEL_NAME, str(decided.version), "superseded")
    assert "script" not in Page(page).tags
    assert "Superseded: <script>alert(1)</script> & the drops changed" in text_of(page)
    assert decided.report().outcome == DONE
    assert "Superseded" not in decided.page


def test_a_first_candidate_is_reported_on_without_a_production(decided):
    said = decided.report(1)
    page = mlflow.artifacts.load_text(f"runs:/{said.figures['run_id']}/{said.figures['report']}")
    assert "Nothing was in Production." in text_of(page)
    assert "picture-auc_difference" not in page
    assert "picture-roc" in page


def test_a_version_that_the_gate_has_not_seen_cannot_be_reported_on(decided):
    with pytest.raises(NotDecided, match=r"nothing in gate\.decisions is about version 3: run the gate"):
        decided.report(decided.undecided)


class Page(HTMLParser):
    """The tags, ids, links and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.links, self.text = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        said = dict(attributes)
        self.ids += [said["id"]] if "id" in said else []
        self.links += [said[name] for name in ("href", "src", "xlink:href", "data") if name in said]

    def handle_data(self, data):
        self.text.append(data)


def text_of(html):
    return " ".join("".join(Page(html).text).split())
