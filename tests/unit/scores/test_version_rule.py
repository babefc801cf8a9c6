"""Which version scores an AS_OF."""

from datetime import date

import pytest

from churn.registry.model_version import ModelVersion
from churn.scores.version_rule import choose_version

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
NONE = frozenset()


def version(number, as_of, **tags):
    return ModelVersion(number, f"run-{number}", "None", {"as_of": str(as_of), **tags})


ONE, TWO, THREE = version(1, JANUARY), version(2, FEBRUARY), version(3, MARCH)


@pytest.mark.parametrize("as_of", [FEBRUARY, MARCH], ids=str)
def test_production_scores_its_own_date_and_later_ones(as_of):
    choice = choose_version(as_of, TWO, [ONE, TWO], NONE)
    assert (choice.version, choice.reason) == (TWO, "version 2 is in Production")


def test_a_backfill_is_scored_by_the_newest_promoted_version_that_saw_no_later_date():
    choice = choose_version(FEBRUARY, THREE, [ONE, TWO, THREE], NONE)
    assert choice.version == TWO
    assert "Production, version 3, is of 2024-03-31, after 2024-02-29" in choice.reason


def test_of_two_promoted_versions_of_a_date_the_one_promoted_last_scores():
    again = version(4, JANUARY)
    assert choose_version(JANUARY, TWO, [ONE, again, TWO], NONE).version == again


def test_without_a_version_there_is_nothing_to_score_by_and_the_reason_says_so():
    choice = choose_version(JANUARY, None, [], NONE)
    assert choice.version is None
    assert choice.reason.startswith("Production is empty, and no version of an AS_OF up to 2024-01-31 was promoted")


def test_a_date_before_every_promoted_version_is_not_scored():
    choice = choose_version(JANUARY, TWO, [TWO], NONE)
    assert choice.version is None
    assert "version 2, is of 2024-02-29" in choice.reason


def test_an_emptied_production_leaves_earlier_promoted_versions():
    assert choose_version(MARCH, None, [ONE], NONE).version == ONE


def test_a_pinned_or_hand_moved_production_scores_although_a_newer_version_was_promoted():
    assert choose_version(MARCH, ONE, [ONE, TWO], NONE).version == ONE


def test_a_version_of_a_withdrawn_date_scores_only_while_it_is_in_production():
    assert choose_version(MARCH, TWO, [ONE, TWO], frozenset({FEBRUARY})).version == TWO
    assert choose_version(FEBRUARY, THREE, [ONE, TWO, THREE], frozenset({FEBRUARY})).version == ONE


def test_a_production_without_a_readable_as_of_does_not_score():
    odd = ModelVersion(5, "run-5", "Production", {"as_of": "31.01.2024"})
    choice = choose_version(FEBRUARY, odd, [ONE, odd], NONE)
    assert choice.version == ONE
    assert "does not say of which AS_OF it is" in choice.reason
