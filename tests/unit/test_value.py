"""The value of contacts: three figures, as an object or as a setting."""

import pytest

from churn.settings import SettingError, stated_value
from churn.value import Value, ValueRefused

GIVEN = {"contact_cost": 10, "success_rate": 0.3, "margin": 200}


def test_an_object_of_three_numbers_is_a_value():
    assert Value.of(GIVEN) == Value(contact_cost=10.0, success_rate=0.3, margin=200.0)


def test_whole_and_decimal_numbers_give_one_record():
    assert repr(Value.of(GIVEN)) == repr(Value.of(GIVEN | {"contact_cost": 10.0, "margin": 200.0}))


@pytest.mark.parametrize(
    "text", ["contact_cost=10,success_rate=0.3,margin=200", " margin = 2e2, contact_cost=10.0 , success_rate=.3"]
)
def test_a_setting_states_the_same(text):
    assert stated_value({"CHURN_VALUE": text}) == Value.of(GIVEN)


@pytest.mark.parametrize("environ", [{}, {"CHURN_VALUE": ""}])
def test_without_the_setting_there_is_no_value(environ):
    assert stated_value(environ) is None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"contact_cost": -1}, "contact_cost must be a number of at least 0"),
        ({"contact_cost": float("nan")}, "contact_cost must be a number of at least 0"),
        ({"success_rate": 0}, "success_rate must be a number above 0 and below 1"),
        ({"success_rate": 30}, "success_rate must be a number above 0 and below 1, like 0.3, got 30"),
        ({"margin": 0}, "margin must be a number above 0"),
        ({"margin": float("inf")}, "margin must be a number above 0"),
        ({"margin": "200"}, "margin must be a number, got '200'"),
        ({"margin": True}, "margin must be a number, got True"),
        ({"margin": None}, "margin must be a number, got None"),
        ({"clv": 200}, "there is no 'clv'; there are: contact_cost, success_rate, margin"),
    ],
)
def test_a_wrong_figure_is_refused_by_its_name(changed, says):
    with pytest.raises(ValueRefused, match=says):
        Value.of(GIVEN | changed)


@pytest.mark.parametrize("name", GIVEN)
def test_a_missing_figure_is_named(name):
    with pytest.raises(ValueRefused, match=f"{name} is missing"):
        Value.of({other: figure for other, figure in GIVEN.items() if other != name})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10", "'10' is not a name=number"),
        ("contact_cost=10,success_rate=0.3,margin=199,50", "'50' is not a name=number"),
        ("contact_cost=10,contact_cost=20", "contact_cost is given twice"),
        ("contact_cost=10,success_rate=0.3", "margin is missing"),
        ("contact_cost=10,success_rate=30,margin=200", "success_rate must be a number above 0 and below 1"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_the_text_and_an_example(text, says):
    with pytest.raises(SettingError, match=says) as error:
        stated_value({"CHURN_VALUE": text})
    assert "CHURN_VALUE must be like contact_cost=10,success_rate=0.3,margin=200" in str(error.value)
    assert repr(text) in str(error.value)
