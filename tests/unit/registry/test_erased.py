"""The tag of a version that learned from erased customers, in words."""

import pytest

from churn.registry.erased import TRAINED_ON_ERASED, erased_in_words
from churn.settings import SettingError


def test_a_version_without_the_tag_has_nothing_to_say():
    assert erased_in_words({"superseded": "January changed"}) is None


@pytest.mark.parametrize(("days", "by"), [("", "2024-03-31"), ("10", "2024-03-11")])
def test_the_tag_names_the_erasure_and_the_setting_by_when_to_replace_the_version(monkeypatch, days, by):
    monkeypatch.setenv("CHURN_REPLACE_DAYS", days)
    said = erased_in_words({TRAINED_ON_ERASED: "2024-03-01"})
    assert said == f"learned from customers who were erased on 2024-03-01: replace by {by}"


def test_an_unreadable_setting_is_an_error_and_an_unreadable_tag_is_shown(monkeypatch):
    assert "no date that can be read: 'soon'" in erased_in_words({TRAINED_ON_ERASED: "soon"})
    monkeypatch.setenv("CHURN_REPLACE_DAYS", "0")
    with pytest.raises(SettingError, match="CHURN_REPLACE_DAYS"):
        erased_in_words({TRAINED_ON_ERASED: "2024-03-01"})
