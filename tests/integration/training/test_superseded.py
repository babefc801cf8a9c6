"""A model version is tagged when the drops it was trained on have changed."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
from mlflow import MlflowClient

from churn.drops.withdrawal import withdraw
from churn.features.store import apply_definitions
from churn.gate.grading import grade
from churn.gate.promotion import promote
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect
from churn.registry import client as registry
from churn.registry.model_version import MODEL_NAME, PRODUCTION
from churn.training import recipe
from churn.training import train as training
from churn.training.sources import drops_of, labelled_dates
from churn.training.superseded import SUPERSEDED, mark_superseded, supersede_withdrawn
from churn.training.train import DropsChanged, train
from churn.training.training_set import NothingToLearn
from churn.training.uses import DROPS, to_tag
from tests.handmade_drops import take_in, write_drop

pytestmark = pytest.mark.usefixtures("labels_of_a_day")

D31, F15, F29, M31 = date(2024, 1, 31), date(2024, 2, 15), date(2024, 2, 29), date(2024, 3, 31)
DAYS = [D31 + timedelta(days=number) for number in range(9)]
USERS = [f"{number:03d}" for number in range(60)]


def leavers(*of):
    """Return a label of every customer, for the drop's own date or for the given one."""
    return [(user, int(user) % 2 == 0, *of) for user in USERS]


@dataclass(frozen=True)
class World:
    """A database, an MLflow and a landing directory."""

    url: str
    directory: Path

    def take_in(self, as_of, labels=None, **values):
        """Load a drop and build its snapshots; the default labels are of its own date."""
        customers = {user: {"months_active": str(1 + int(user) % 7), **values} for user in USERS}
        drop = write_drop(self.directory / "landing", as_of, customers, leavers() if labels is None else labels)
        take_in(drop, self.url, self.directory / "archive")

    def register(self, *as_ofs):
        """Register a version for each AS_OF with its current drops, like train() but without fitting a model."""
        client = MlflowClient()
        if not client.search_registered_models():
            client.create_registered_model(MODEL_NAME)
        with connect(self.url) as connection:
            for as_of, drops in drops_of(connection, as_ofs).items():
                tags = {"as_of": as_of.isoformat(), DROPS: to_tag(drops)}
                client.create_model_version(MODEL_NAME, str(self.directory), tags=tags)

    def train(self, as_of):
        """Return the version of a training at `as_of`."""
        return train(as_of, self.url).figures["version"]

    def superseded(self):
        """Return {version: reason} of the superseded versions."""
        found = registry.find_versions(MlflowClient(), {})
        return {each.version: each.tags[SUPERSEDED] for each in reversed(found) if SUPERSEDED in each.tags}

    def superseded_as_ofs(self):
        mark_superseded(self.url)
        return [registry.get_version(MlflowClient(), version).as_of for version in self.superseded()]


@pytest.fixture
def world(database_url, mlflow_uri, tmp_path):
    apply_definitions(database_url)
    return World(database_url, tmp_path)


@pytest.fixture(autouse=True)
def small_forests(monkeypatch):
    quick = recipe.Parameters(families=("logistic regression",))
    monkeypatch.setattr(training.recipe, "Parameters", lambda: quick)


# --- a corrected drop --------------------------------------------------------------------------------------------


def test_a_corrected_drop_supersedes_its_as_of_and_later_ones_with_it_in_their_window(world):
    for day in DAYS:
        world.take_in(day)
    world.register(*DAYS)
    world.take_in(DAYS[1], monthly_fee="99.5")
    assert world.superseded_as_ofs() == DAYS[1:7]


def test_the_tag_says_what_changed_and_what_to_do(world):
    world.take_in(D31)
    world.take_in(F29)
    world.register(F29)
    world.take_in(D31, monthly_fee="99.5")
    mark_superseded(world.url)
    assert world.superseded() == {
        1: "the drops that it was trained on changed: 2024-01-31 corrected; "
        "run 2024-02-29 again to train on those of now"
    }


def test_the_outcome_names_the_versions(world):
    world.take_in(D31)
    world.register(D31)
    world.take_in(D31, monthly_fee="99.5")
    outcome = mark_superseded(world.url)
    assert (outcome.outcome, outcome.figures) == (DONE, {"tagged": [1], "untagged": []})
    assert outcome.reason == "superseded: version 1; no longer: none"


def test_marking_again_changes_nothing(world):
    world.take_in(D31)
    world.register(D31)
    world.take_in(D31, monthly_fee="99.5")
    mark_superseded(world.url)
    before = world.superseded()
    assert mark_superseded(world.url).outcome == UNCHANGED
    assert world.superseded() == before


def test_a_drop_that_is_corrected_back_supersedes_nothing_any_more(world):
    world.take_in(D31)
    world.register(D31)
    world.take_in(D31, monthly_fee="99.5")
    mark_superseded(world.url)
    world.take_in(D31)
    assert mark_superseded(world.url).figures == {"tagged": [], "untagged": [1]}
    assert world.superseded() == {}


def test_a_drop_that_is_taken_in_again_unchanged_supersedes_nothing(world):
    world.take_in(D31)
    world.train(D31)
    world.take_in(D31)
    assert mark_superseded(world.url).outcome == UNCHANGED
    assert world.superseded() == {}


def test_running_the_date_again_trains_a_new_version_that_the_old_one_names(world):
    world.take_in(D31)
    assert world.train(D31) == 1
    world.take_in(D31, labels=leavers()[:40])
    mark_superseded(world.url)
    assert world.train(D31) == 2
    assert world.superseded() == {
        1: "the drops that it was trained on changed: 2024-01-31 corrected; version 2 was trained on those of now"
    }
    assert mark_superseded(world.url).outcome == UNCHANGED


def test_a_correction_of_a_column_that_no_feature_uses_supersedes_until_the_date_is_run_again(world):
    world.take_in(D31)
    world.train(D31)
    world.take_in(D31, total_paid="360")
    assert world.superseded_as_ofs() == [D31]
    assert train(D31, world.url).outcome == UNCHANGED
    assert world.superseded() == {}
    assert mark_superseded(world.url).outcome == UNCHANGED


def test_stage_alias_and_decision_of_a_superseded_version_stay(world):
    client = MlflowClient()
    world.take_in(D31)
    world.train(D31)
    grade(1, world.url)
    promote(1, None, "to see it stay", world.url)
    before = client.get_model_version(MODEL_NAME, "1")
    world.take_in(D31, labels=leavers()[:40])
    mark_superseded(world.url)
    after = client.get_model_version(MODEL_NAME, "1")
    assert (after.current_stage, after.aliases) == ("Production", ["champion"])
    assert {name: tag for name, tag in after.tags.items() if name != SUPERSEDED} == before.tags
    with psycopg.connect(world.url) as connection:
        assert connection.execute("SELECT count(*) FROM gate.decisions").fetchone() == (1,)


# --- a drop that comes late --------------------------------------------------------------------------------------


def test_an_older_drop_supersedes_those_that_would_have_used_it(world):
    late = DAYS[2]
    for day in set(DAYS) - {late}:
        world.take_in(day)
    world.register(*DAYS)
    world.take_in(late)
    # Without it, the version of its own date was trained on the dates before.
    assert world.superseded_as_ofs() == DAYS[2:8]


def test_the_tag_names_a_new_drop_and_one_that_left_the_window(world):
    for day in [DAYS[0], *DAYS[2:7]]:
        world.take_in(day)
    world.register(DAYS[6])
    world.take_in(DAYS[1])
    mark_superseded(world.url)
    assert f"changed: {DAYS[1]} new; {DAYS[0]} no longer used; run {DAYS[6]} again" in world.superseded()[1]


def test_an_older_drop_without_labels_supersedes_nothing(world):
    world.take_in(D31)
    world.take_in(F29)
    world.register(D31, F29)
    world.take_in(F15, labels=[])
    assert world.superseded_as_ofs() == []


# --- late labels -------------------------------------------------------------------------------------------------


def test_late_labels_make_their_date_trainable_from_the_drop_on_that_brought_them(world):
    world.take_in(D31, labels=[])
    world.take_in(F15, labels=[])
    world.take_in(F29, labels=leavers(D31))
    with pytest.raises(NothingToLearn):
        train(F15, world.url)
    assert train(F29, world.url).outcome == DONE
    with connect(world.url) as connection:
        assert [labelled_dates(connection, as_of) for as_of in (D31, F15, F29)] == [[], [], [D31]]


def test_late_labels_supersede_nothing_before_the_drop_that_brought_them(world):
    world.take_in(D31)
    world.take_in(F15)
    world.register(D31, F15)
    world.take_in(F29, labels=leavers(D31))
    assert world.superseded_as_ofs() == []


def test_late_labels_supersede_what_was_trained_without_them_from_their_drop_on(world):
    world.take_in(D31)
    world.take_in(F29)
    world.take_in(M31)
    world.register(D31, F15, F29, M31)
    # The customers of January who left after all; no label of the date itself.
    world.take_in(F15, labels=leavers(D31))
    assert world.superseded_as_ofs() == [F15, F29, M31]


def test_labels_that_are_corrected_by_a_later_drop_are_what_the_version_was_trained_on(world):
    world.take_in(D31)
    world.take_in(F29, labels=leavers(D31))
    world.train(F29)
    world.take_in(F29, labels=[(user, False, D31) for user in USERS])
    # F29 had repeated the labels of D31, so the rows were known at D31; F29 used them.
    assert world.superseded_as_ofs() == [D31]
    assert f"run {F29} again" in world.superseded()[1]


# --- what a version is made of -----------------------------------------------------------------------------------


def test_a_version_names_the_drops_that_it_was_trained_on_by_their_content(world):
    world.take_in(D31)
    world.take_in(F15, labels=[])
    world.take_in(F29, labels=leavers(D31))
    world.train(F29)
    with psycopg.connect(world.url) as connection:
        digests = dict(connection.execute("SELECT as_of, digest FROM raw.drops").fetchall())
    assert registry.get_version(MlflowClient(), 1).tags[DROPS] == to_tag({D31: digests[D31], F29: digests[F29]})


def test_a_version_that_the_pipeline_did_not_train_is_left_alone(world):
    client = MlflowClient()
    client.create_registered_model(MODEL_NAME)
    client.create_model_version(MODEL_NAME, str(world.directory))
    assert mark_superseded(world.url).outcome == UNCHANGED


def test_without_any_model_there_is_nothing_to_mark(world):
    world.take_in(D31)
    assert mark_superseded(world.url).outcome == UNCHANGED


def test_versions_are_marked_however_many_there_are(world, monkeypatch):
    monkeypatch.setattr(registry, "PAGE", 2)
    world.take_in(D31)
    for _ in range(5):
        world.register(D31)
    world.take_in(D31, monthly_fee="99.5")
    assert mark_superseded(world.url).figures["tagged"] == [5, 4, 3, 2, 1]


# --- at the same time --------------------------------------------------------------------------------------------


def test_a_drop_that_changes_while_the_training_set_is_read_makes_no_version(world, monkeypatch):
    world.take_in(D31)
    read = training.build_training_set

    def read_and_correct(*arguments, **named):
        found = read(*arguments, **named)
        world.take_in(D31, monthly_fee="99.5")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(training, "build_training_set", read_and_correct)
        with pytest.raises(DropsChanged, match="run the task again"):
            train(D31, world.url)
    assert registry.find_versions(MlflowClient(), {}) == []
    assert train(D31, world.url).outcome == DONE


def test_a_version_whose_drops_change_while_it_is_fitted_is_superseded_from_the_start(world, monkeypatch):
    world.take_in(D31)
    fit = training.fit_candidate

    def fit_and_correct(*arguments):
        world.take_in(D31, monthly_fee="99.5")
        # Nothing is registered yet that it could mark.
        mark_superseded(world.url)
        return fit(*arguments)

    monkeypatch.setattr(training, "fit_candidate", fit_and_correct)
    world.train(D31)
    assert list(world.superseded()) == [1]


@pytest.mark.parametrize(("tag", "value"), [("as_of", "31.01.2024"), (DROPS, "[]"), (DROPS, "none")])
def test_a_version_with_broken_tags_does_not_block_the_others(world, tag, value):
    world.take_in(D31)
    world.register(D31)
    world.register(D31)
    MlflowClient().set_model_version_tag(MODEL_NAME, "1", tag, value)
    world.take_in(D31, monthly_fee="12.5")
    mark_superseded(world.url)
    assert set(world.superseded()) == {2}


# --- a withdrawn drop --------------------------------------------------------------------------------------------


def tags_after_withdrawal(world, withdrawn, *left):
    for day in (withdrawn, *left):
        world.take_in(day)
    world.register(*sorted((withdrawn, *left)))
    withdraw(withdrawn, "ada", "a test", world.url)
    mark_superseded(world.url)
    return world.superseded()


def test_the_tag_of_a_withdrawn_as_of_advises_to_run_the_newest_remaining_one(world):
    assert tags_after_withdrawal(world, F29, D31) == {
        2: "the drops that it was trained on changed: 2024-02-29 withdrawn; its AS_OF 2024-02-29 was withdrawn: "
        "run 2024-01-31, the newest AS_OF that is left"
    }


def test_the_tag_of_a_later_version_with_a_withdrawn_drop_advises_to_run_again(world):
    assert tags_after_withdrawal(world, D31, F29)[2] == (
        "the drops that it was trained on changed: 2024-01-31 withdrawn; run 2024-02-29 again to train on those of now"
    )


def test_the_tag_of_a_withdrawn_as_of_says_when_no_drop_remains(world):
    assert tags_after_withdrawal(world, D31)[1].endswith("was withdrawn: load another drop: none is left")


def test_a_version_of_a_withdrawn_as_of_whose_drop_gave_no_labels_is_superseded_too(world):
    world.take_in(D31)
    world.take_in(F29, labels=())
    world.register(F29)
    withdraw(F29, "ada", "a test", world.url)
    mark_superseded(world.url)
    assert world.superseded() == {
        1: "its AS_OF 2024-02-29 was withdrawn: run 2024-01-31, the newest AS_OF that is left"
    }


def test_a_drop_that_comes_back_after_its_withdrawal_supersedes_nothing_any_more(world):
    world.take_in(D31)
    world.register(D31)
    withdraw(D31, "ada", "a test", world.url)
    mark_superseded(world.url)
    (world.directory / "landing" / "2024-01-31" / "_ACCEPT").write_text("it was right after all")
    world.take_in(D31)
    assert mark_superseded(world.url).figures == {"tagged": [], "untagged": [1]}


def in_production(version):
    MlflowClient().transition_model_version_stage(MODEL_NAME, str(version), PRODUCTION)


def test_a_person_is_asked_about_a_production_that_was_trained_with_the_withdrawn_drop(world):
    world.take_in(D31)
    world.take_in(F29)
    world.register(F29)
    in_production(1)
    withdraw(D31, "ada", "a test", world.url)
    outcome = supersede_withdrawn(D31, world.url)
    assert outcome.figures["ask"] == (
        "version 1 in Production was trained with the drop of 2024-01-31, which was withdrawn: go back with "
        "make rollback, or run 2024-02-29, the newest AS_OF that is left, and let the gate decide"
    )
    assert outcome.reason.endswith(outcome.figures["ask"])
    assert supersede_withdrawn(D31, world.url).figures["ask"] == outcome.figures["ask"]


def test_nobody_is_asked_about_a_production_that_was_not_trained_with_the_withdrawn_drop(world):
    world.take_in(D31)
    world.register(D31)
    in_production(1)
    world.take_in(F29)
    withdraw(F29, "ada", "a test", world.url)
    assert "ask" not in supersede_withdrawn(F29, world.url).figures
