"""Expected profit, the threshold of the highest one, and EMPC."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from churn.training.profit import CONTACT_NOBODY, empc, expected_profit, most_profitable_threshold, profit_metrics
from churn.value import Value

VALUE = Value(contact_cost=10, success_rate=0.3, margin=200)

values = st.builds(
    Value, contact_cost=st.floats(0, 100), success_rate=st.floats(0.01, 0.99), margin=st.floats(0.01, 10_000)
)
EMPULSE = {
    (500, 11, 1, 1): (20.56871233025104, 28.880004311771746, 1.0961586680261335, 3.6623333191302585),
    (2000, 12, 3, 15): (9.621312898748808, 14.763832899630017, 0.4817792716902523, 1.4549541591952098),
    (60, 14, 0.5, 15): (34.472132191260826, 43.03333354509777, 2.0327156682094323, 10.733689310560418),
}
"""What empulse 0.13.1 (PyPI) says of the lists made(*key), for each of EMPULSE_VALUES:
empc_score(labels, scores, clv=margin, incentive_cost=0, contact_cost=contact_cost, alpha=20 * success_rate,
beta=20 * (1 - success_rate))."""

EMPULSE_VALUES = (Value(10, 0.3, 200), Value(1, 0.3, 200), Value(2, 0.1, 50), Value(40, 0.6, 100))

lists = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=40)


def made(size: int, seed: int, power: float = 1, digits: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores: a customer leaves with the probability score ** power. Few digits make ties."""
    random = np.random.default_rng(seed)
    scores = random.random(size)
    return random.random(size) < scores**power, np.round(scores, digits)


def arrays(rows: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = zip(*rows, strict=True)
    return np.array(labels), np.array(scores) / 20


def profits(labels: np.ndarray, scores: np.ndarray, value: Value) -> dict[float, float]:
    """The profit of every threshold, and of contacting nobody."""
    return {2.0: 0.0} | {score: expected_profit(labels, scores >= score, value) for score in np.unique(scores)}


def test_profit_is_that_of_the_page_per_customer():
    labels = np.array([True, True, False, False, True])
    contacted = np.array([True, False, True, False, True])
    # Two leavers at 0.3 * 200, three contacts at 10, five customers.
    assert expected_profit(labels, contacted, VALUE) == pytest.approx((2 * 60 - 3 * 10) / 5)


@given(lists, values)
def test_no_threshold_earns_more_than_the_chosen_one(rows, value):
    labels, scores = arrays(rows)
    scores = scores * 0.9
    chosen = most_profitable_threshold(labels, scores, value)
    best = max(profits(labels, scores, value).values())
    assert expected_profit(labels, scores >= chosen, value) == pytest.approx(best, abs=1e-9)


def test_of_equal_profits_the_one_of_the_fewest_contacts_is_chosen():
    labels = np.array([True, False, True, False])
    scores = np.array([0.9, 0.7, 0.5, 0.3])
    # A contact costs 10 and a leaver brings 20, so two contacts more of whom one leaves earn nothing.
    assert most_profitable_threshold(labels, scores, Value(10, 0.5, 40)) == 0.9


def test_where_no_contact_pays_nobody_is_contacted():
    labels, scores = made(500, seed=1)
    dear = Value(contact_cost=70, success_rate=0.3, margin=200)
    assert most_profitable_threshold(labels, scores, dear) == CONTACT_NOBODY
    assert profit_metrics("cohort", labels, scores, CONTACT_NOBODY, dear)["cohort_expected_profit"] == 0


def test_a_dearer_contact_means_a_higher_threshold_and_fewer_contacts():
    labels, scores = made(5000, seed=2)
    found = [most_profitable_threshold(labels, scores, Value(cost, 0.3, 200)) for cost in (0, 5, 10, 20, 40)]
    assert found == sorted(found)
    assert len(set(found)) == 5


@pytest.mark.parametrize(("size", "power", "digits"), [(300, 3, 15), (1000, 9, 2), (50, 0.5, 1)])
@pytest.mark.parametrize("value", [VALUE, Value(1, 0.1, 50), Value(5, 0.9, 20)], ids=str)
def test_empc_is_the_mean_of_the_best_profits_over_the_success_rates(size, power, digits, value):
    labels, scores = made(size, 3, power, digits)
    spread = beta(20 * value.success_rate, 20 * (1 - value.success_rate))
    # Equally likely success rates, and the best of all thresholds for each.
    rates = spread.ppf((np.arange(20_000) + 0.5) / 20_000)
    customers = len(labels)
    best = np.zeros(len(rates))
    for score in np.unique(scores):
        said = scores >= score
        gained = rates * value.margin * np.count_nonzero(labels & said) - value.contact_cost * np.count_nonzero(said)
        best = np.maximum(best, gained / customers)
    assert empc(labels, scores, value) == pytest.approx(best.mean(), rel=1e-5)


@pytest.mark.parametrize("key", EMPULSE, ids=str)
def test_empc_is_that_of_the_package_empulse(key):
    found = [empc(*made(*key), value) for value in EMPULSE_VALUES]
    assert found == pytest.approx(EMPULSE[key], rel=1e-9, abs=0)


@given(lists, values)
def test_empc_is_at_least_the_highest_profit_at_the_mean_success_rate_and_at_most_a_perfect_list(rows, value):
    labels, scores = arrays(rows)
    found = empc(labels, scores, value)
    slack = 1e-9 * max(1.0, value.margin)
    assert found >= max(profits(labels, scores, value).values()) - slack
    assert found <= empc(labels, labels.astype(float), value) + slack
    assert found == pytest.approx(empc(labels, np.exp(scores), value))


def test_a_free_contact_makes_empc_what_all_leavers_bring():
    labels, scores = made(400, seed=4, power=3)
    assert empc(labels, scores, Value(0, 0.3, 200)) == pytest.approx(60 * labels.mean())


@pytest.mark.parametrize("label", [True, False])
def test_customers_of_one_class_have_an_empc(label):
    found = empc(np.full(30, label), np.linspace(0, 1, 30), VALUE)
    assert found == (pytest.approx(50.0, rel=0.01) if label else 0.0)


def test_without_a_value_or_without_rows_there_are_no_metrics():
    labels, scores = made(40, seed=5)
    assert profit_metrics("cohort", labels, scores, 0.5, None) == {}
    assert profit_metrics("cohort", labels[:0], scores[:0], 0.5, VALUE) == {}
    assert profit_metrics("cohort", labels, scores, 0.5, VALUE).keys() == {"cohort_expected_profit", "cohort_empc"}
