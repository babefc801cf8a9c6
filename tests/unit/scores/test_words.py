"""Reasons in words."""

import pytest

from churn.scores.words import in_words


@pytest.mark.parametrize(
    ("feature", "value", "effect", "text"),
    [
        ("monthly_fee", 104.8, 0.1234, "monthly_fee 104.8 raises the risk by 0.12"),
        ("months_active", 71, -0.2, "months_active 71 lowers the risk by 0.20"),
        ("paperless_billing", True, 0.05, "paperless_billing yes raises the risk by 0.05"),
        ("plan_stream_tv", None, 0.01, "plan_stream_tv (empty) raises the risk by 0.01"),
        ("net_service", "Fiber optic", 0.001, "net_service Fiber optic hardly matters"),
    ],
)
def test_a_reason_names_the_value_and_what_it_does_to_the_risk(feature, value, effect, text):
    assert in_words({"feature": feature, "value": value, "effect": effect}) == text
