"""The list as its readers see it, over fabricated rows of scores.customers."""

import csv
from datetime import date

import psycopg
import pytest
from psycopg.rows import dict_row

from churn.board import listing
from churn.board.curves import BINS, last_rank
from tests.conftest import FEBRUARY, JANUARY
from tests.made_lists import bring_labels, bring_leavers, insert_list

CUSTOMERS = 1234
MARCH = date(2024, 3, 31)


@pytest.fixture(scope="module")
def url(shared_database_url):
    """January, with labels from the drop of February, of which March corrects 20; February in two revisions."""
    run = insert_list(shared_database_url, JANUARY, CUSTOMERS)
    bring_labels(shared_database_url, run, FEBRUARY)
    bring_leavers(shared_database_url, run, MARCH, last_rank=20)
    for revision in (1, 2):
        insert_list(shared_database_url, FEBRUARY, 50, revision)
    return shared_database_url


@pytest.fixture(scope="module")
def january(url):
    return listing.read_list(url, JANUARY, 1)


@pytest.fixture(scope="module")
def curves(url, january):
    return listing.read_curves(url, january)


@pytest.fixture(scope="module")
def people(url):
    """The rows of January in the order of their ranks, each with its newest label."""
    query = """
        SELECT c.*, (SELECT churn_label FROM snapshots.labels_snapshots l
                     WHERE l.user_id = c.user_id AND l.as_of = c.as_of ORDER BY drop_as_of DESC LIMIT 1) AS left
        FROM scores.current c WHERE as_of = %s ORDER BY rank
    """
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query, [JANUARY]).fetchall()


def ids(page: listing.CustomerPage) -> list[str]:
    return [each.user_id for each in page.customers]


def walk(url, run, **how) -> list[str]:
    """The ids of all pages, one after the other."""
    found, after = [], 0
    while after is not None:
        page = listing.read_customers(url, run, after=after, limit=100, **how)
        found += ids(page)
        after = page.next
    return found


def test_the_newest_revision_of_each_date_is_listed_newest_first(url):
    found = listing.read_lists(url)
    assert [(each.as_of, each.revision, each.rows) for each in found] == [(FEBRUARY, 2, 50), (JANUARY, 1, CUSTOMERS)]


def test_an_earlier_revision_can_still_be_read_and_an_unknown_one_is_none(url):
    assert listing.read_list(url, FEBRUARY, 1).run.revision == 1
    assert listing.read_list(url, FEBRUARY, 3) is None
    assert listing.read_list(url, date(2024, 1, 30), 1) is None


def test_a_withdrawn_list_is_not_read(database_url):
    insert_list(database_url, JANUARY, 20)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE scores.runs SET withdrawn_at = now()")
    assert (listing.read_lists(database_url), listing.read_list(database_url, JANUARY, 1)) == ([], None)


def test_a_list_names_the_drops_with_labels_of_its_date(url, january):
    assert [each.as_of for each in january.label_drops] == [FEBRUARY, MARCH]
    assert listing.read_list(url, FEBRUARY, 2).label_drops == ()


def test_other_labels_make_another_state_of_the_list(url, january):
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE snapshots.builds SET drop_digest = 'e' WHERE as_of = %s", [MARCH])
    assert listing.read_list(url, JANUARY, 1) != january


@pytest.mark.parametrize(("model_as_of", "learned"), [(JANUARY, False), (FEBRUARY, True)])
def test_a_version_that_knew_the_labels_may_have_learned_from_them(database_url, model_as_of, learned):
    run = insert_list(database_url, JANUARY, 20, model_as_of=model_as_of)
    bring_labels(database_url, run, FEBRUARY)
    assert listing.read_list(database_url, JANUARY, 1).learned_from_labels == learned


def test_the_curves_count_every_customer_once(curves, people):
    assert (curves.customers, curves.treat) == (CUSTOMERS, sum(row["arm"] == "treat" for row in people))
    assert [each.customers for each in curves.depths] == [last_rank(depth, CUSTOMERS) for depth in range(1, 101)]
    assert [each.customers for each in curves.deciles] == [124] * 4 + [123] * 6


@pytest.mark.parametrize("depth", [1, 10, 37, 100])
def test_a_depth_adds_up_its_customers(curves, people, depth):
    own = people[: last_rank(depth, CUSTOMERS)]
    treat = [row for row in own if row["arm"] == "treat"]
    found = curves.depths[depth - 1]
    assert (found.customers, found.treat) == (len(own), len(treat))
    assert found.expected == pytest.approx(sum(row["churn_probability"] for row in own))
    assert found.expected_treat == pytest.approx(sum(row["churn_probability"] for row in treat))
    assert found.revenue_at_risk == pytest.approx(sum(row["revenue_at_risk"] for row in own))
    assert (found.labelled, found.churned) == (len(own), sum(row["left"] for row in own))


def test_of_two_drops_with_a_label_of_a_customer_the_later_one_counts(curves):
    assert curves.depths[0].customers == curves.depths[0].churned == 13
    assert curves.labelled == CUSTOMERS


def test_the_bins_are_the_distribution_of_the_scores(curves, people):
    wanted = [0] * BINS
    for row in people:
        wanted[int(row["churn_probability"] * BINS)] += 1
    assert curves.bins == wanted


def test_a_list_without_labels_has_curves_without_leavers(url):
    found = listing.read_curves(url, listing.read_list(url, FEBRUARY, 2))
    assert (found.customers, found.labelled, found.depths[9].gain, found.depths[9].lift) == (50, 0, None, None)


SORTS = {
    "rank": lambda row: row["rank"],
    "monthly_fee": lambda row: (-row["monthly_fee"], row["rank"]),
    "revenue_at_risk": lambda row: (-row["revenue_at_risk"], row["rank"]),
}


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("search", ["", "a", "ab"])
def test_the_pages_hold_every_customer_once_in_order(url, january, people, sort, search):
    wanted = [row["user_id"] for row in sorted(people, key=SORTS[sort]) if row["user_id"].startswith(search)]
    assert walk(url, january.run, sort=sort, search=search) == wanted
    assert wanted


def test_a_search_counts_its_matches(url, january, people):
    page = listing.read_customers(url, january.run, search="a", limit=3)
    assert (len(page.customers), page.matches) == (3, sum(row["user_id"].startswith("a") for row in people))
    assert listing.read_customers(url, january.run, limit=3).matches is None


@pytest.mark.parametrize("search", ["%", "_", "\\", "' OR true --", "A"])
def test_a_search_is_a_beginning_and_no_pattern(url, january, search):
    assert listing.read_customers(url, january.run, search=search) == listing.CustomerPage([], 0, None)


def test_the_top_decile_has_its_reasons_in_words_and_the_rest_none(url, january):
    first = listing.read_customers(url, january.run, limit=1).customers[0]
    assert first.reasons == [
        f"monthly_fee {first.monthly_fee:g} raises the risk by 0.12",
        "months_active 2 raises the risk by 0.08",
        "net_service <b>Fiber</b> lowers the risk by 0.04",
    ]
    assert listing.read_customers(url, january.run, after=124, limit=1).customers[0].reasons == []


@pytest.mark.parametrize("depth", [1, 10, 55, 100])
def test_the_contacts_of_a_depth_are_its_customers_of_arm_treat(url, january, people, depth):
    lines = csv.DictReader(b"".join(listing.contacts(url, january.run, depth)).decode("utf-8-sig").splitlines())
    own = people[: last_rank(depth, CUSTOMERS)]
    assert [line["user_id"] for line in lines] == [row["user_id"] for row in own if row["arm"] == "treat"]
