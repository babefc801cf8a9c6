"""A version's tags, and inconsistencies of the registry: the version that is served, and the advice."""

from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.registry.model_version import ModelNotLoadable, ModelVersion
from churn.registry.state import odd_stages, odd_tags, oddities

TAGS = {"as_of": "2024-01-31", "threshold": "0.45", "feature_service": "churn_v1"}


def version(number=4, stage="Production", **tags):
    return ModelVersion(number, "run", stage, {name: text for name, text in (TAGS | tags).items() if text is not None})


# --- tags --------------------------------------------------------------------------------------------------------


def test_tags_of_the_pipeline_are_read():
    found = version()
    assert (found.as_of, found.threshold, found.feature_service) == (date(2024, 1, 31), 0.45, "churn_v1")


@pytest.mark.parametrize("text", ["0,5", "45%", "1.01", "-0.1", "nan", "inf", "", "a half"])
def test_a_threshold_that_is_no_probability_is_refused_with_its_value_and_what_to_do(text):
    with pytest.raises(ModelNotLoadable) as raised:
        version(threshold=text).threshold  # noqa: B018
    said = str(raised.value)
    assert f"version 4 of streamflow_churn has the tag threshold {text!r}, which is no probability" in said
    assert "set the tag in MLflow to a number from 0 to 1" in said


@pytest.mark.parametrize("text", ["31.01.2024", "2024-02-30", "20240131", "", "yesterday"])
def test_an_as_of_that_is_no_date_is_refused_with_its_value_and_what_to_do(text):
    with pytest.raises(ModelNotLoadable, match="set the tag in MLflow to a date like 2024-01-31") as raised:
        version(as_of=text).as_of  # noqa: B018
    assert f"has the tag as_of {text!r}, which is no date" in str(raised.value)
    assert version(as_of=text).known_as_of is None


@given(st.text(max_size=200))
def test_any_tag_text_is_a_value_or_raises_model_not_loadable(text):
    for name in ("as_of", "threshold"):
        with suppress(ModelNotLoadable):
            found = getattr(version(**{name: text}), name)
            assert isinstance(found, date) or 0 <= found <= 1


# --- odd states --------------------------------------------------------------------------------------------------


def test_a_registry_as_promotion_leaves_it_is_not_odd():
    held = [version(3, "Archived", threshold="0,5"), version(4), version(5, "Staging")]
    assert oddities(held, {"champion": 4}, {"churn_v1"}) == []
    assert oddities([], {}, {"churn_v1"}) == []


def test_of_several_versions_in_production_the_highest_number_counts():
    (odd,) = odd_stages([version(10), version(3), version(5, "Staging")], {"champion": 10})
    assert odd.found == "versions 3 and 10 are both in stage Production: version 10, the highest number, counts"
    assert odd.advice.startswith("move 3 to stage Archived in MLflow")
    (odd,) = odd_stages([version(1), version(2), version(3)], {})
    assert odd.found.startswith("versions 1, 2, 3 are all in stage Production: version 3")


def test_a_manually_moved_alias_does_not_move_production():
    (odd,) = odd_stages([version(4)], {"champion": 3})
    assert odd.found == "alias champion names version 3, and stage Production holds version 4: the stage counts"
    assert odd.advice == ("set the alias to version 4 in MLflow; to serve version 3: make rollback VERSION=3")
    (odd,) = odd_stages([], {"champion": 3})
    assert "stage Production is empty: the stage counts, so no version is served" in odd.found


def test_aliases_of_other_names_are_ignored():
    assert odd_stages([version(4)], {"best": 3}) == []


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"threshold": "0,5"}, "threshold '0,5', which is no probability"),
        ({"as_of": "31.01.2024"}, "as_of '31.01.2024', which is no date"),
        ({"threshold": None}, "no tag threshold"),
        ({"feature_service": None}, "no tag feature_service"),
        ({"feature_service": "churn_v9"}, "Feast does not know its feature service 'churn_v9'"),
    ],
)
def test_a_production_that_serving_cannot_load_is_named_with_the_served_version(tags, words):
    (odd,) = odd_tags(version(**tags), {"churn_v1"})
    assert odd.found.startswith(
        "version 4 is in Production and cannot be served: serving keeps the version that it has"
    )
    assert words in odd.advice
    assert odd.is_refused


def test_only_the_tags_of_the_version_that_counts_are_judged():
    found = oddities([version(3, threshold="0,5"), version(4)], {"champion": 4}, {"churn_v1"})
    assert ["both in stage Production" in each.found for each in found] == [True]


def test_without_feast_no_feature_service_is_reported_as_unknown():
    assert odd_tags(version(feature_service="churn_v9"), None) == []
