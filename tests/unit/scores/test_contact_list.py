"""The CSV for whoever contacts customers."""

import csv

import pytest

from churn.scores import contact_list

CUSTOMER = {
    "as_of": "2024-01-31",
    "revision": 1,
    "rank": 1,
    "churn_probability": 0.5,
    "monthly_fee": 20.0,
    "revenue_at_risk": 10.0,
    "reasons": None,
}


def cells(user_id: str, **different: object) -> list[str]:
    (line,) = csv.reader([contact_list.lines([CUSTOMER | {"user_id": user_id} | different]).decode().strip()])
    return line


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(begin):
    assert cells(f"{begin}1+1")[2] == f"'{begin}1+1"


def test_no_part_of_a_cell_is_a_formula_where_excel_splits_at_semicolons():
    assert cells("x;=1+1;y;@2")[2] == "x;'=1+1;y;'@2"


def test_a_reason_is_defused_too():
    reason = {"feature": "net_service", "value": "a;=1+1", "effect": 0.1}
    assert cells("x", reasons=[reason])[7] == "net_service a;'=1+1 raises the risk by 0.10"


def test_other_cells_stay_as_they_are():
    assert cells("a-1;b=2")[:5] == ["2024-01-31", "1", "a-1;b=2", "1", "0.5"]
    assert cells("x", churn_probability=-0.5)[4] == "-0.5"
