"""The page "At risk" in a real browser, in a frame like Airflow's, over fabricated lists."""

import csv
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Frame, Page, expect

from tests.chromium import artifacts, browser, page_of
from tests.conftest import FEBRUARY, JANUARY
from tests.dags.page_app import served
from tests.integration.serving.page_checks import CONTRASTS, STRUCTURE
from tests.made_lists import bring_labels, insert_list
from tests.patience import wait_for

__all__ = ["artifacts", "browser"]

CUSTOMERS = 1000
MARCH = date(2024, 3, 31)
SUMMARY = "customers1,000"


@pytest.fixture(scope="module")
def url(shared_database_url):
    """January with labels, and February, in which nobody's are known."""
    bring_labels(shared_database_url, insert_list(shared_database_url, JANUARY, CUSTOMERS), FEBRUARY)
    insert_list(shared_database_url, FEBRUARY, 30)
    return shared_database_url


@pytest.fixture(scope="module")
def addresses(url):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW_CONN_CHURN_POSTGRES", url)
        with served("USER") as user, served("VIEWER") as viewer:
            yield {"USER": user, "VIEWER": viewer}


@pytest.fixture
def page(browser):
    """A page of a browser, which fails the test on an error of the page or a foreign request."""
    with page_of(browser, viewport={"width": 1400, "height": 1000}, color_scheme="light") as page:
        yield page


def open_list(page: Page, address: str, as_of: object = JANUARY) -> Frame:
    page.goto(f"{address}/at-risk")
    frame = page.frame(url="**/gate-board/risk")
    assert frame is not None
    frame.get_by_label("AS_OF").select_option(str(as_of))
    expect(frame.locator("#distribution svg")).to_be_visible()
    expect(frame.locator("#status")).to_have_text("")
    return frame


@pytest.fixture
def risk(page, addresses):
    return open_list(page, addresses["USER"])


def type_figures(risk: Frame, cost: str, success: str, margin: str) -> None:
    for label, value in (("Cost of", cost), ("Success rate", success), ("Margin of", margin)):
        risk.get_by_label(label).fill(value)


def set_depth(risk: Frame, depth: int) -> None:
    risk.get_by_label("Depth of the list").fill(str(depth))


def shown_ids(risk: Frame) -> list[str]:
    return risk.locator("#rows tbody tr td:nth-child(2)").all_inner_texts()


def screenshot(page: Page, risk: Frame, artifacts: Path, name: str) -> None:
    height = risk.locator("body").evaluate("body => body.scrollHeight")
    page.set_viewport_size({"width": 1400, "height": height})
    page.screenshot(path=artifacts / f"at-risk-{name}.png")
    print(f"screenshot: {artifacts / f'at-risk-{name}.png'}")  # noqa: T201


def test_the_page_shows_figures_curves_and_customers_with_reasons(page, risk, artifacts):
    type_figures(risk, "5", "20", "100")
    for text in (SUMMARY, "expected leavers300", "arm treat900", "arm control100", "left"):
        expect(risk.locator("#summary")).to_contain_text(text)
    expect(risk.locator("#quality .plot")).to_have_count(2)
    expect(risk.locator("#distribution tbody tr")).to_have_count(10)
    first = risk.locator("#rows tbody tr").first
    expect(first).to_contain_text("raises the risk by 0.12")
    expect(first).to_contain_text("net_service <b>Fiber</b> lowers the risk by 0.04")
    screenshot(page, risk, artifacts, "light")


def test_a_date_without_labels_has_no_curves_of_them(page, addresses):
    risk = open_list(page, addresses["USER"], FEBRUARY)
    expect(risk.locator("#summary")).to_contain_text("It is not known yet who left")
    expect(risk.locator("#quality")).to_be_hidden()


def test_the_date_is_in_the_address(page, addresses):
    page.goto(f"{addresses['USER']}/gate-board/risk#2024-01-31")
    expect(page.locator("#summary")).to_contain_text(SUMMARY)
    page.goto(f"{addresses['USER']}/gate-board/risk#2020-01-31")
    expect(page.locator("#status")).to_contain_text("There is no list of 2020-01-31")


def test_customers_are_sorted_searched_and_turned_by_the_server(risk):
    rows = risk.locator("#rows tbody tr")
    expect(rows).to_have_count(25)
    first = shown_ids(risk)
    risk.get_by_role("button", name="Next").click()
    expect(risk.locator("#place")).to_have_text("26 to 50 of 1,000")
    assert not set(first) & set(shown_ids(risk))
    risk.get_by_role("button", name="Previous").click()
    expect(risk.locator("#place")).to_have_text("1 to 25 of 1,000")
    assert shown_ids(risk) == first
    risk.get_by_role("button", name="monthly fee").click()
    expect(risk.locator("th[aria-sort=descending]")).to_have_text("monthly fee")
    expect(rows.first.locator("td").nth(3)).to_have_text("119.90")
    risk.get_by_label("Customer id begins with").fill(first[0])
    expect(risk.locator("#matches")).to_contain_text("customer")
    expect(rows.first.locator("td").nth(1)).to_have_text(first[0])
    risk.get_by_label("Customer id begins with").fill("nobody")
    expect(risk.locator("#rows")).to_contain_text("No customer id begins with this text")


def expected_profit(depth: int, cost: float, success: float, margin: float) -> float:
    """By hand: of the first `n` fabricated customers every tenth is in arm control."""
    treat = [i for i in range(1, depth * CUSTOMERS // 100 + 1) if i % 10]
    expected = sum(0.9 * (1 - (i - 0.5) / CUSTOMERS) ** 2 for i in treat)
    return success * margin * expected - cost * len(treat)


def test_the_best_depth_is_the_one_of_the_highest_expected_profit(risk):
    expect(risk.locator("#profit")).to_contain_text("Enter a cost")
    type_figures(risk, "5", "20", "100")
    by_depth = {depth: expected_profit(depth, 5, 0.2, 100) for depth in range(1, 101)}
    best = max(by_depth, key=by_depth.__getitem__)
    expect(risk.locator("#best")).to_have_text(f"{best} %")
    expect(risk.locator("#profit")).to_contain_text(f"expected profit {by_depth[best]:,.0f}")
    expect(risk.locator("#profit .plot")).to_have_accessible_name(
        f"Expected profit by depth. At 10 %: {by_depth[10]:,.0f}. Highest at {best} %: {by_depth[best]:,.0f}."
    )
    expect(risk.locator("#profit .warning")).to_contain_text("This is an assumption")
    risk.get_by_role("button", name="Go to this depth").click()
    expect(risk.locator("#depth-said")).to_have_text(f"{best} %")


def test_where_a_contact_costs_more_than_it_brings_no_depth_is_marked(risk):
    type_figures(risk, "1000", "1", "1")
    expect(risk.locator("#best")).to_contain_text("no depth pays")
    expect(risk.locator("#profit circle.best")).to_have_count(0)


def test_figures_that_are_out_of_range_are_not_used(risk):
    type_figures(risk, "5", "120", "100")
    expect(risk.locator("#profit")).to_contain_text("Enter a cost")


def test_the_figures_typed_in_are_there_at_the_next_visit(page, risk, addresses):
    type_figures(risk, "7", "30", "90")
    again = open_list(page, addresses["USER"])
    expect(again.get_by_label("Cost of")).to_have_value("7")
    expect(again.locator("#profit .plot")).to_be_visible()


def test_the_csv_holds_the_depth_that_is_shown_without_the_control_arm(page, risk):
    set_depth(risk, 30)
    expect(risk.locator("#depth-facts")).to_contain_text("contact270")
    expect(risk.locator("#depth-facts")).to_contain_text("leave alone30")
    with page.expect_download() as started:
        risk.get_by_role("link", name="Download 270 customers").click()
    assert started.value.suggested_filename == "at-risk_2024-01-31_revision-1_top-30-percent.csv"
    lines = [*csv.DictReader(Path(started.value.path()).read_text(encoding="utf-8-sig").splitlines())]
    assert [int(line["rank"]) for line in lines] == [rank for rank in range(1, 301) if rank % 10]


def test_a_viewer_sees_figures_and_curves_and_no_customer(page, addresses):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    risk = open_list(page, addresses["VIEWER"])
    expect(risk.locator("#summary")).to_contain_text(SUMMARY)
    expect(risk.locator("#quality .plot")).to_have_count(2)
    expect(risk.locator("#customers-hidden")).to_contain_text("users who may trigger the DAG churn_score")
    expect(risk.locator("#customers-shown")).to_be_hidden()
    expect(risk.locator("#csv")).to_have_count(0)
    assert not [url for url in asked if "/customers" in url or "csv" in url]


def test_the_keyboard_alone_reaches_everything_and_keeps_its_place(page, risk):
    type_figures(risk, "5", "20", "100")
    risk.get_by_label("AS_OF").focus()
    reached = []
    while reached[-1:] != ["next"] and len(reached) < 30:
        page.keyboard.press("Tab")
        reached.append(risk.evaluate("document.activeElement.id"))
    wanted = ["depth", "csv", "cost", "success", "margin", "use-best", "search"]
    wanted += ["sort-rank", "sort-monthly_fee", "sort-revenue_at_risk", "next"]
    assert [each for each in reached if each in wanted] == wanted
    risk.locator("#depth").focus()
    page.keyboard.press("ArrowRight")
    expect(risk.locator("#depth-said")).to_have_text("11 %")
    expect(risk.locator("#depth")).to_be_focused()
    risk.locator("#sort-monthly_fee").focus()
    page.keyboard.press("Enter")
    expect(risk.locator("th[aria-sort=descending]")).to_have_text("monthly fee")
    expect(risk.locator("#sort-monthly_fee")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 360])
def test_the_page_is_readable_and_its_parts_have_names(page, addresses, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    risk = open_list(page, addresses["USER"])
    type_figures(risk, "5", "20", "100")
    expect(risk.locator("#profit .plot")).to_be_visible()
    assert risk.evaluate(STRUCTURE) == []
    assert risk.evaluate(CONTRASTS) == []
    assert risk.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_page_is_dark_where_the_system_or_airflow_is(page, addresses, artifacts):
    page.emulate_media(color_scheme="dark")
    risk = open_list(page, addresses["USER"])
    background = "getComputedStyle(document.body).backgroundColor"
    assert risk.evaluate(background) == "rgb(17, 17, 17)"
    type_figures(risk, "5", "20", "100")
    screenshot(page, risk, artifacts, "dark")
    # As Airflow keeps the choice of its user.
    page.evaluate("localStorage.setItem('theme', 'light')")
    wait_for(lambda: risk.evaluate(background) == "rgb(255, 255, 255)", seconds=20)


def test_an_unreachable_database_is_reported_and_asked_again(page, addresses):
    page.clock.install()
    away = {"detail": "the database `churn` cannot be read: connection refused"}
    page.route("**/api/scores/**", lambda route: route.fulfill(status=503, json=away))
    page.goto(f"{addresses['USER']}/gate-board/risk#2024-01-31")
    for place in ("#problems", "#rows"):
        expect(page.locator(place)).to_contain_text("cannot be read: connection refused")
    page.unroute("**/api/scores/**")
    page.clock.run_for(31_000)
    expect(page.locator("#summary")).to_contain_text(SUMMARY)
    expect(page.locator("#problems")).to_have_text("")
    expect(page.locator("#rows tbody tr")).to_have_count(25)


def test_the_next_revision_takes_the_place_of_the_one_shown(page, url, addresses):
    page.clock.install()
    insert_list(url, MARCH, 40)
    page.goto(f"{addresses['USER']}/gate-board/risk#{MARCH}")
    expect(page.locator("#summary")).to_contain_text("customers40")
    insert_list(url, MARCH, 41, revision=2)
    page.clock.run_for(31_000)
    expect(page.locator("#summary")).to_contain_text("customers41")
    expect(page.locator("#news")).to_have_text("Revision 2 of the list is shown.")
