"""Which revision a run of churn_score makes, by which version, and when it makes none."""

import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
from mlflow import MlflowClient

from churn.drops.storage import storage_at
from churn.drops.withdrawal import withdraw
from churn.gate import moves
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect
from churn.registry.model_version import MODEL_NAME
from churn.registry.version_scorer import VersionScorer, load_scorer
from churn.scores import scoring_step
from churn.scores.files import mark_withdrawn
from churn.scores.ranking import NotProbabilities
from churn.scores.run import runs_of
from churn.scores.scoring_step import NothingToScore, SnapshotChanged, score_customers
from churn.scoring.scorer import Scorer
from churn.training.train import train
from tests.conftest import FEBRUARY, JANUARY
from tests.integration.training_chain import QUICK


def to_production(version: int) -> None:
    MlflowClient().transition_model_version_stage(MODEL_NAME, str(version), "Production", True)


def correct(lists, as_of):
    """Give the first customer of a drop another fee."""
    drop = lists.chain.pipeline.landing / str(as_of)
    (drop / "manifest.json").unlink(missing_ok=True)
    file = drop / "subscriptions.csv"
    header, first, *rest = file.read_text().splitlines()
    cells = first.split(",")
    cells[header.split(",").index("monthly_fee")] = "77.77"
    file.write_text("\n".join([header, ",".join(cells), *rest]) + "\n")


def test_a_corrected_drop_makes_the_next_revision_and_leaves_the_earlier_one(scored):
    before = scored.query("SELECT * FROM scores.customers ORDER BY rank")
    files = {path: path.read_bytes() for path in scored.folder(JANUARY, 1).iterdir()}
    correct(scored, JANUARY)
    scored.chain.pipeline.serve(JANUARY)
    outcome = scored.score(JANUARY)
    assert (outcome.outcome, outcome.figures["revision"]) == (DONE, 2)
    assert {row["revision"] for row in scored.current(JANUARY)} == {2}
    assert 77.77 in {row["monthly_fee"] for row in scored.current(JANUARY)}
    assert scored.query("SELECT * FROM scores.customers WHERE revision = 1 ORDER BY rank") == before
    assert {path: path.read_bytes() for path in scored.folder(JANUARY, 1).iterdir()} == files


def test_another_production_makes_the_next_revision(scored):
    again = train(JANUARY, scored.database_url, QUICK.__class__(families=("boosted trees",)))
    to_production(again.figures["version"])
    assert scored.score(JANUARY).figures["revision"] == 2
    assert {row["model_version"] for row in scored.current(JANUARY)} == {again.figures["version"]}


def test_a_production_that_moves_meanwhile_does_not_mix_versions(scored, monkeypatch):
    again = train(JANUARY, scored.database_url, QUICK.__class__(families=("boosted trees",)))
    correct(scored, JANUARY)
    scored.chain.pipeline.serve(JANUARY)
    score = scoring_step.score_batches

    def moved_meanwhile(*arguments):
        to_production(again.figures["version"])
        return score(*arguments)

    monkeypatch.setattr(scoring_step, "score_batches", moved_meanwhile)
    scored.score(JANUARY)
    assert {(row["revision"], row["model_version"]) for row in scored.current(JANUARY)} == {(2, 1)}
    monkeypatch.undo()
    scored.score(JANUARY)
    assert {row["model_version"] for row in scored.current(JANUARY)} == {again.figures["version"]}


@pytest.mark.parametrize("happens", [correct, None], ids=["corrected", "withdrawn"])
def test_a_snapshot_that_changes_meanwhile_leaves_the_list_as_it_was(scored, monkeypatch, happens):
    to_production(train(JANUARY, scored.database_url, QUICK.__class__(families=("boosted trees",))).figures["version"])
    before, score = scored.current(JANUARY), scoring_step.score_batches

    def changed_meanwhile(*arguments):
        done = score(*arguments)
        if happens:
            happens(scored, JANUARY)
            scored.chain.pipeline.snapshot(JANUARY)
        else:
            withdraw(JANUARY, "somebody", "it was wrong", scored.database_url)
        return done

    monkeypatch.setattr(scoring_step, "score_batches", changed_meanwhile)
    with pytest.raises(SnapshotChanged, match="run the task again"):
        scored.score(JANUARY)
    assert scored.current(JANUARY) == before
    assert not scored.folder(JANUARY, 2).exists()


def test_a_version_whose_score_is_nan_leaves_the_list_as_it_was(scored, monkeypatch):
    before = scored.current(JANUARY)
    correct(scored, JANUARY)
    scored.chain.pipeline.serve(JANUARY)
    monkeypatch.setattr(scoring_step, "load_scorer", load_with_one_nan)
    with pytest.raises(NotProbabilities, match="such as nan: no list is written"):
        scored.score(JANUARY)
    assert scored.current(JANUARY) == before
    assert not scored.folder(JANUARY, 2).exists()


def load_with_one_nan(*arguments):
    loaded = load_scorer(*arguments)
    return VersionScorer(OneNan(loaded.scorer), loaded.background)


@dataclass
class OneNan(Scorer):
    scorer: Scorer

    def probabilities(self, rows):
        return np.append(self.scorer.probabilities(rows)[:-1], np.nan)


def test_a_revision_whose_run_was_killed_before_its_files_gets_them_although_production_moved(scored):
    files = {path.name: path.read_bytes() for path in scored.folder(JANUARY, 1).iterdir()}
    shutil.rmtree(scored.folder(JANUARY, 1))
    again = train(JANUARY, scored.database_url, QUICK.__class__(families=("boosted trees",)))
    to_production(again.figures["version"])
    assert scored.score(JANUARY).figures["revision"] == 2
    assert {path.name: path.read_bytes() for path in scored.folder(JANUARY, 1).iterdir()} == files
    assert (scored.folder(JANUARY, 2) / "manifest.json").exists()


def test_a_damaged_manifest_is_published_again_and_marked_when_the_date_is_withdrawn(scored):
    manifest = scored.folder(JANUARY, 1) / "manifest.json"
    before = manifest.read_bytes()
    for damage in ("", "[]", "{}", '{"withdrawn": false, "files": {}}'):
        manifest.write_text(damage)
        assert scored.score(JANUARY).outcome == UNCHANGED
        assert manifest.read_bytes() == before
    manifest.write_text("")
    with connect(scored.database_url) as connection:
        (run,) = runs_of(connection, JANUARY)
    assert mark_withdrawn(storage_at(scored.files), run)
    assert json.loads(manifest.read_text()) == {"withdrawn": True}


def test_a_backfill_is_scored_by_a_version_that_saw_no_later_date(small):
    small.chain(JANUARY, QUICK)
    small.chain(FEBRUARY, QUICK)
    february = train(FEBRUARY, small.database_url, QUICK).figures["version"]
    to_production(february)
    outcome = small.score(JANUARY)
    assert outcome.figures["model_version"] == 1
    assert f"Production, version {february}, is of 2024-02-29" in outcome.reason
    assert small.score(FEBRUARY).figures["model_version"] == february


def test_a_backfill_before_every_promoted_version_is_not_scored_and_says_why(small):
    small.chain.pipeline.serve(JANUARY)
    small.chain(FEBRUARY, QUICK)
    with pytest.raises(NothingToScore, match="no version of an AS_OF up to 2024-01-31 was promoted"):
        small.score(JANUARY)
    assert small.query("SELECT FROM scores.runs") == []


def test_without_a_version_or_a_snapshot_there_is_nothing_to_score(small):
    with pytest.raises(NothingToScore, match="no snapshot of 2024-01-31"):
        small.score(JANUARY)
    small.chain.pipeline.serve(JANUARY)
    with pytest.raises(NothingToScore, match="Production is empty"):
        small.score(JANUARY)


def test_a_rolled_back_version_does_not_score_backfills(scored):
    with connect(scored.database_url, autocommit=True) as connection:
        (first,) = moves.promoted(connection)
        second = train(JANUARY, scored.database_url, QUICK.__class__(families=("boosted trees",))).figures["version"]
        for kind, number in ((moves.PROMOTION, second), (moves.ROLLBACK, first.version)):
            moves.append(connection, kind, _version(number), "somebody", "why")
        assert [each.version for each in moves.promoted(connection)] == [1]
        moves.append(connection, moves.PERSON, None, "somebody", "emptied")
        assert moves.promoted(connection) == []


def _version(number):
    from churn.registry import client as registry

    return registry.get_version(MlflowClient(), number)


def test_another_share_of_the_control_arm_makes_the_next_revision(scored):
    outcome = score_customers(JANUARY, scored.database_url, str(scored.files), 0.25)
    assert (outcome.outcome, outcome.figures["revision"]) == (DONE, 2)
    assert scored.score(JANUARY).outcome == DONE
    assert scored.score(JANUARY).outcome == UNCHANGED
