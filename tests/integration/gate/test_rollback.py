"""Promotion, rollback, pin and release on real Postgres and MLflow, their record, and recovery from kills."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date

import mlflow
import psycopg
import pytest
from mlflow import MlflowClient
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline

from churn.gate import moves, promotion, question, rollback
from churn.gate.approval import Approval
from churn.gate.decision_files import source_of
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect, lock_session
from churn.registry import client as registry
from churn.registry.client import EXPERIMENT
from churn.registry.model_version import MODEL_NAME
from churn.registry.trust import trust
from tests.conftest import THOROUGH, database_copy
from tests.integration.fault_injection import Child
from tests.integration.fault_registry import Registry, count_changes, registered, registry_copy, talking_to
from tests.integration.moments import moments
from tests.patience import wait_for

AS_OF = date(2024, 1, 31)
YES = Approval(approved=True, who="ada", at="2024-02-01T09:00:00+00:00", note="seen")
NO = replace(YES, approved=False)
NOBODY = replace(NO, who=None, note="")


@dataclass(frozen=True)
class House:
    """A registry with decisions, and the operations on them."""

    world: Registry
    model: mlflow.models.model.ModelInfo
    client: MlflowClient

    @property
    def url(self):
        return self.world.database_url

    def register(self, *, trusted=True, **tags):
        usual = {"as_of": AS_OF.isoformat(), "threshold": "0.5", "feature_service": "churn_v1"}
        made = self.client.create_model_version(
            MODEL_NAME, self.model.model_uri, self.model.run_id, tags={**usual, **tags}
        )
        if trusted:
            trust(int(made.version), "ada", "made by this test", self.url)
        return int(made.version)

    def decide(self, version, against, superior=False):
        decide(self.url, version, against, superior, run_id=self.model.run_id)

    def promote(self, version, against, superior=False, approval=None):
        self.decide(version, against, superior)
        return promotion.promote(version, against, f"{version} is good", self.url, superior=superior, approval=approval)

    def by_hand(self, version):
        self.client.transition_model_version_stage(
            MODEL_NAME, str(version), "Production", archive_existing_versions=True
        )

    def back(self, version=None, why="wrong prices"):
        return rollback.rollback(version, "ada", why, self.url)

    @property
    def production(self):
        held = self.client.get_latest_versions(MODEL_NAME, stages=["Production"])
        return [int(each.version) for each in held]

    @property
    def champion(self):
        return int(self.client.get_registered_model(MODEL_NAME).aliases["champion"])

    @property
    def moves(self):
        with connect(self.url) as connection:
            return connection.execute(
                "SELECT kind, version, previous_version, who FROM gate.moves ORDER BY id"
            ).fetchall()

    def anchor(self):
        with connect(self.url) as connection:
            found = moves.anchor(connection)
        return found and found.version

    def notice(self):
        with connect(self.url, autocommit=True) as connection:
            moves.notice(connection, self.client)


def decide(database_url, version, against, superior=False, outcome="PROMOTE", run_id="run"):
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO gate.decisions (as_of, candidate_version, run_id, production_version, graded_on, outcome,"
            " reason, superior, report) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, '{}')",
            (AS_OF, version, run_id, against, AS_OF, outcome, f"{version} is good", superior),
        )


@pytest.fixture(scope="module")
def empty(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """A registry with a logged model and no version."""
    directory = tmp_path_factory.mktemp("registry")
    with database_copy(postgres_url, churn_template) as url, database_copy(postgres_url, mlflow_template) as mlflow_url:
        world = Registry(url, mlflow_url.replace("postgresql://", "postgresql+psycopg2://"), directory, AS_OF)
        with talking_to(world):
            MlflowClient().create_registered_model(MODEL_NAME)
            pipeline = make_pipeline(DummyClassifier(strategy="prior")).fit([[0]] * 4, [0, 0, 0, 1])
            mlflow.set_experiment(EXPERIMENT)
            with mlflow.start_run():
                model = mlflow.sklearn.log_model(pipeline, name="model", pip_requirements=["scikit-learn"])
        yield world, model


@pytest.fixture
def house(empty, postgres_url):
    """Nothing is registered yet."""
    world, model = empty
    with registry_copy(world, postgres_url) as copy, talking_to(copy):
        yield House(copy, model, MlflowClient())


@pytest.fixture(scope="module")
def promoted(empty, postgres_url):
    """Versions 1, 2 and 3, promoted one after the other; the first one anchors."""
    world, model = empty
    with registry_copy(world, postgres_url) as copy:
        with talking_to(copy):
            house = House(copy, model, MlflowClient())
            for against, superior in ((None, True), (1, False), (2, False)):
                house.promote(house.register(), against, superior=superior)
        yield copy, model


@pytest.fixture
def three(promoted, postgres_url):
    """Versions 1, 2 and 3 were promoted; 3 is in Production."""
    world, model = promoted
    with registry_copy(world, postgres_url) as copy, talking_to(copy):
        yield House(copy, model, MlflowClient())


def test_each_promotion_is_recorded_with_the_version_it_replaced(three):
    assert three.moves == [("promotion", 1, None, "gate"), ("promotion", 2, 1, "gate"), ("promotion", 3, 2, "gate")]
    assert three.anchor() == 1


def test_a_superior_promotion_is_the_next_anchor(three):
    three.promote(three.register(), 3, superior=True)
    assert three.anchor() == 4


def test_the_history_is_append_only(three):
    for statement in ("UPDATE gate.moves SET who = 'me'", "DELETE FROM gate.moves", "TRUNCATE gate.moves"):
        with pytest.raises(psycopg.errors.RaiseException, match=r"gate.moves is append-only"), connect(three.url) as c:
            c.execute(statement)


def test_a_rollback_moves_production_to_the_previous_version_and_pins_it(three):
    outcome = three.back()
    assert outcome.outcome == DONE
    assert (three.production, three.champion) == ([2], 2)
    assert three.moves[-1] == ("rollback", 2, 3, "ada")
    pinned = moves.pin(three.client)
    assert (pinned.version, pinned.who, pinned.why) == (2, "ada", "wrong prices")
    assert three.anchor() == 2


def test_a_rollback_to_a_named_version_goes_there(three):
    assert three.back(1).figures == {"version": 1, "previous_version": 3}
    assert three.production == [1]


def test_a_repeated_rollback_does_not_go_back_twice(three):
    three.back()
    before = registered(three.world)
    for version in (None, 2):
        assert three.back(version).outcome == UNCHANGED
        assert registered(three.world) == before


def test_after_a_release_the_next_rollback_goes_further_back_and_not_to_where_the_first_began(three):
    three.back()
    rollback.release("ada", "mended", three.url)
    assert three.back().figures["version"] == 1


def test_a_pinned_production_can_be_rolled_back_further_by_name(three):
    three.back()
    three.back(1, "that one too")
    assert three.production == [1]
    assert moves.pin(three.client).why == "that one too"


def test_a_version_that_cannot_be_served_is_passed_over(three):
    three.client.delete_model_version_tag(MODEL_NAME, "2", "threshold")
    assert three.back().figures["version"] == 1


def test_a_version_that_was_deleted_is_passed_over(three):
    three.client.delete_model_version(MODEL_NAME, "2")
    assert three.back().figures["version"] == 1


@pytest.mark.parametrize(
    ("version", "why", "said"),
    [(9, "w", "no such version"), (2, "w", "no tag threshold"), (1, " ", "say who and why"), (1, "x" * 1001, "1000")],
    ids=["unknown", "not to be served", "no reason", "a long reason"],
)
def test_an_impossible_rollback_is_refused_and_moves_nothing(three, version, why, said):
    three.client.delete_model_version_tag(MODEL_NAME, "2", "threshold")
    before = registered(three.world)
    with pytest.raises(rollback.RollbackRefused, match=said):
        three.back(version, why)
    assert registered(three.world) == before


def test_a_rollback_from_the_first_version_is_refused(house):
    house.promote(house.register(), None)
    with pytest.raises(rollback.RollbackRefused, match="knows of none before"):
        house.back()
    assert house.production == [1]


def test_with_nothing_registered_a_rollback_says_that_there_is_nothing_to_go_back_to(house):
    house.client.delete_registered_model(MODEL_NAME)
    with pytest.raises(rollback.RollbackRefused, match="no version to go back to"):
        house.back()


def test_a_pinned_production_is_not_promoted_over_and_the_reason_says_how_to_release_it(three):
    three.back()
    version = three.register()
    outcome = three.promote(version, 2)
    assert outcome.outcome == promotion.KEPT
    for words in ("ada", "wrong prices", "make release", "churn_rollback"):
        assert words in outcome.reason
    assert three.production == [2]
    assert len(three.moves) == 4


def test_after_the_release_the_same_promotion_goes_through(three):
    three.back()
    version = three.register()
    three.promote(version, 2)
    assert rollback.release("bob", "mended", three.url).outcome == DONE
    assert three.promote(version, 2).outcome == DONE
    assert three.production == [version]
    assert three.moves[-2:] == [("release", 2, 2, "bob"), ("promotion", version, 2, "gate")]


def test_the_gate_never_promotes_a_rolled_back_version(three):
    three.back()
    rollback.release("ada", "mended", three.url)
    assert "taken out" in three.promote(3, 2).reason
    assert three.production == [2]


def test_a_version_of_a_withdrawn_drop_is_not_promoted(three):
    drops = json.dumps({"2023-12-31": "a", AS_OF.isoformat(): "b"})
    version = three.register(drops=drops)
    with connect(three.url) as connection:
        connection.execute("INSERT INTO raw.withdrawals (as_of, who, why) VALUES ('2023-12-31', 'ada', 'cents')")
    refused = three.promote(version, 3)
    assert (refused.outcome, three.production) == (promotion.KEPT, [3])
    assert "was trained with the drop of 2023-12-31, which was withdrawn" in refused.reason


def test_releasing_what_is_not_pinned_changes_nothing(three):
    before = registered(three.world)
    assert rollback.release("ada", "to be sure", three.url).outcome == UNCHANGED
    assert registered(three.world) == before


def test_an_invalid_manual_pin_stops_every_move_and_is_named(three):
    three.client.set_registered_model_tag(MODEL_NAME, moves.PIN, "please stay")
    with pytest.raises(moves.PinUnreadable, match="please stay"):
        three.back()
    with pytest.raises(moves.PinUnreadable, match="delete it in MLflow"):
        three.promote(three.register(), 3)
    assert three.production == [3]


def test_concurrent_rollbacks_make_one_move(three):
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda _: three.back(), range(2)))
    assert {each.outcome for each in outcomes} == {DONE, UNCHANGED}
    assert three.moves[3:] == [("rollback", 2, 3, "ada")]


def test_a_manual_move_is_recorded_once_and_becomes_the_anchor(three):
    three.by_hand(1)
    for _ in range(2):
        three.notice()
    assert three.moves[3:] == [("person", 1, 3, moves.BY_HAND)]
    assert three.anchor() == 1


def test_a_manually_emptied_production_is_recorded(three):
    three.client.transition_model_version_stage(MODEL_NAME, "3", "Archived")
    three.notice()
    assert three.moves[-1] == ("person", None, 3, moves.BY_HAND)
    assert three.anchor() is None
    assert three.back().figures["version"] == 3


def test_a_manual_move_and_its_reversal_are_both_recorded_as_a_persons(three):
    for version in (1, 3):
        three.by_hand(version)
        three.notice()
    assert [kind for kind, *_ in three.moves[3:]] == ["person", "person"]


def test_an_unrecorded_promotion_is_not_taken_for_a_manual_move(three):
    version = three.register()
    three.decide(version, 3)
    three.client.set_model_version_tag(MODEL_NAME, str(version), moves.PROMOTING, "3")
    three.by_hand(version)
    three.notice()
    assert len(three.moves) == 3
    assert three.back().figures == {"version": 3, "previous_version": version}
    assert three.moves[3:] == [("promotion", version, 3, "gate"), ("rollback", 3, version, "ada")]


def test_a_manual_move_of_the_candidate_counts_as_a_persons_and_anchors(three):
    version = three.register()
    three.decide(version, 3)
    three.by_hand(version)
    three.notice()
    assert three.moves[-1] == ("person", version, 3, moves.BY_HAND)
    assert three.anchor() == version


def test_a_candidate_graded_before_a_manual_move_does_not_replace_it(three):
    by_hand, late = three.register(), three.register()
    three.decide(by_hand, 3)
    three.decide(late, 3)
    three.by_hand(by_hand)
    moved = promotion.promote(late, 3, "good", three.url)
    assert moved.outcome == promotion.KEPT
    assert "was moved meanwhile" in moved.reason
    assert three.production == [by_hand]


def test_a_move_in_progress_is_not_recorded_as_manual(three):
    with connect(three.url, autocommit=True) as connection:
        lock_session(connection, moves.PROMOTE_LOCK)
        three.by_hand(1)
        three.notice()
        assert len(three.moves) == 3
    # The server frees the lock shortly after the connection is closed.
    wait_for(lambda: (three.notice(), len(three.moves) == 4)[1], seconds=10)
    assert three.moves[-1] == ("person", 1, 3, moves.BY_HAND)


def test_a_rejection_is_recorded_even_if_production_was_pinned_meanwhile(three):
    version = three.register()
    three.decide(version, 3)
    three.back()
    rejected = promotion.promote(version, 3, "good", three.url, approval=NO)
    assert "rejected by" in rejected.reason


def test_a_manual_move_of_a_rejected_version_is_recorded_as_a_persons(three):
    version = three.register()
    three.promote(version, 3, approval=NO)
    three.by_hand(version)
    three.notice()
    assert three.moves[-1] == ("person", version, 3, moves.BY_HAND)


def test_who_approved_is_recorded_with_the_promotion(three):
    version = three.register()
    three.promote(version, 3, approval=YES)
    assert three.moves[-1] == ("promotion", version, 3, "ada")
    reason = registry.get_version(three.client, version).tags["gate.reason"]
    assert reason.endswith("approved by ada at 2024-02-01T09:00: seen")


@pytest.mark.parametrize(
    ("answer", "said"), [(NO, "rejected by ada at 2024-02-01T09:00: seen"), (NOBODY, "nobody answered within 24 hours")]
)
def test_without_consent_production_stays_and_the_decision_is_keep(three, answer, said):
    version = three.register()
    three.client.transition_model_version_stage(MODEL_NAME, str(version), "Staging")
    for _ in range(2):
        outcome = promotion.promote(version, 3, "good", three.url, approval=answer)
        assert (outcome.outcome, three.production) == (promotion.KEPT, [3])
        assert said in outcome.reason
    kept = registry.get_version(three.client, version)
    assert (kept.stage, kept.tags["gate.decision"]) == ("Archived", "KEEP")


def test_a_rejection_is_one_decision_keep_with_the_figures_that_were_judged(three):
    version = three.register()
    three.decide(version, 3)
    for _ in range(2):
        promotion.promote(version, 3, "good", three.url, approval=NO)
    with connect(three.url) as connection:
        found = connection.execute(
            "SELECT outcome, production_version, reason, id, report FROM gate.decisions"
            " WHERE candidate_version = %s ORDER BY id",
            (version,),
        ).fetchall()
    assert [row[:2] for row in found] == [("PROMOTE", 3), ("KEEP", 3)]
    assert "rejected by ada" in found[1][2]
    assert found[1][4]["outcome"] == "KEEP"
    # The pictures are those of the decision that the gate made.
    assert [source_of(number, report) for *_, number, report in found] == [found[0][3]] * 2


def test_an_approval_against_another_production_is_kept_back(three):
    version = three.register()
    three.decide(version, 2)
    outcome = promotion.promote(version, 2, "good", three.url, approval=YES)
    assert outcome.outcome == promotion.KEPT
    assert "moved meanwhile" in outcome.reason
    assert three.production == [3]


def test_a_version_that_a_person_moved_while_it_waited_stays_in_production_whatever_the_answer(three):
    version = three.register()
    three.decide(version, 3)
    three.by_hand(version)
    promotion.promote(version, 3, "good", three.url, approval=NO)
    assert three.production == [version]


def loaded(database_url, as_of):
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO raw.revisions (as_of, revision, validated_at, digest, code_digest, files)"
            " VALUES (%s, 1, now(), '', '', '{}')",
            (as_of,),
        )


def test_the_question_about_the_newest_drop_puts_the_candidate_into_staging_and_shows_the_report(three, monkeypatch):
    monkeypatch.setenv("MLFLOW_URL", "http://127.0.0.1:5001")
    loaded(three.url, AS_OF)
    version = three.register()
    report = {
        "candidate": {"version": version, "as_of": "2024-01-31", "auc": {"value": 0.83, "low": 0.81, "high": 0.85}},
        "production": None,
        "difference": None,
        "checks": [
            {"name": "auc_floor", "figure": 0.83, "threshold": 0.6, "outcome": "PASS", "sentence": "0.83 | enough"},
            {
                "name": "signature",
                "figure": ["a", "b"],
                "threshold": ["a", "b"],
                "outcome": "PASS",
                "sentence": "alike",
            },
        ],
        "overridden": {"max_auc_loss": 0.01},
    }
    with connect(three.url) as connection:
        connection.execute(
            "INSERT INTO gate.decisions (as_of, candidate_version, run_id, production_version, graded_on, outcome,"
            " reason, report) VALUES (%s, %s, %s, 3, %s, 'PROMOTE', 'better', %s)",
            (AS_OF, version, three.model.run_id, AS_OF, psycopg.types.json.Jsonb(report)),
        )
    asked = question.ask(version, three.url)
    assert f"version {version}" in asked.subject
    assert "| auc_floor | PASS | 0.83 | 0.6 | 0.83 \\| enough |" in asked.body
    assert "| signature | PASS | 2 names | 2 names | alike |" in asked.body
    assert "0.830 (0.810 to 0.850)" in asked.body
    assert "max_auc_loss" in asked.body
    assert f"http://127.0.0.1:5001/#/experiments/1/runs/{three.model.run_id}" in asked.body
    assert registry.get_version(three.client, version).stage == "Staging"


def test_nobody_is_asked_about_an_older_date(three):
    loaded(three.url, date(2024, 2, 29))
    version = three.register()
    three.decide(version, 3)
    assert question.ask(version, three.url) is None
    assert registry.get_version(three.client, version).stage == "None"


def test_nobody_is_asked_while_production_is_pinned(three):
    loaded(three.url, AS_OF)
    three.back()
    version = three.register()
    three.decide(version, 2)
    assert question.ask(version, three.url) is None


def run_rollback(world):
    with talking_to(world):
        return rollback.rollback(None, "ada", "wrong prices", world.database_url)


def run_rollback_by_name(world):
    with talking_to(world):
        return rollback.rollback(1, "ada", "wrong prices", world.database_url)


def run_release(world):
    with talking_to(world):
        return rollback.release("ada", "mended", world.database_url)


def run_approved(world):
    with talking_to(world):
        return promotion.promote(4, 3, "4 is good", world.database_url, superior=True, approval=YES)


def run_rejected(world):
    with talking_to(world):
        return promotion.promote(4, 3, "4 is good", world.database_url, approval=NO)


@pytest.mark.parametrize(
    ("step", "pinned", "least"),
    [
        (run_rollback, False, 4),
        (run_rollback_by_name, True, 4),
        (run_release, True, 2),
        (run_approved, False, 6),
        (run_rejected, False, 4),
    ],
    ids=["rollback", "rollback of a rollback", "release", "approved promotion", "rejected promotion"],
)
def test_a_killed_move_seen_by_the_gate_is_completed_by_the_retry(three, step, pinned, least, children, postgres_url):
    waiting = three.register()
    three.decide(waiting, 3, superior=True)
    three.client.transition_model_version_stage(MODEL_NAME, str(waiting), "Staging")
    if pinned:
        three.back()
    start = three.world
    with registry_copy(start, postgres_url) as undisturbed:
        step(undisturbed)
        new = registered(undisturbed)
    for deaths in (n - 1 for n in moments(2 if THOROUGH else 5)):
        with registry_copy(start, postgres_url) as world:
            lived, *_ = Child(children, step, world, dies_before=deaths + 1, prepare=count_changes).result()
            with talking_to(world), connect(world.database_url, autocommit=True) as connection:
                moves.notice(connection, MlflowClient())
            step(world)
            assert registered(world) == new
        if lived:
            break
    assert deaths >= least
