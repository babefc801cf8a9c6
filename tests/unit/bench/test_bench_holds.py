"""The benchmark of false holds compares the same figures as validate."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from bench.holds import held_in, look_at
from churn.drops.holds.rules import compare
from churn.synthetic.drops import simulate


def test_a_small_chain_of_true_drops_is_not_held():
    assert list(held_in(daily=False, customers=250, drift=0.1, seed=3)) == []


def test_a_drop_with_fees_in_cents_is_held():
    before, now = simulate(customers=250, months=2, seed=3)
    subscriptions = now.tables["subscriptions"]
    cents = pc.multiply(subscriptions["monthly_fee"], pa.scalar(100.0))
    place = subscriptions.column_names.index("monthly_fee")
    wrong = replace(now, tables={**now.tables, "subscriptions": subscriptions.set_column(place, "monthly_fee", cents)})
    (look_before, users_before), (look, users) = look_at(before), look_at(wrong)
    (finding,) = compare(look, look_before, len(users_before & users))
    assert finding.startswith("subscriptions.csv, column monthly_fee: the median is ")
