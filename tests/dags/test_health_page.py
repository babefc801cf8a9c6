"""The page "Health" in a real browser, in a frame like Airflow's, over fabricated judgements."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Frame, Page, expect

from churn.board.production import Registry
from churn.drift.distribution import Distribution, distribution_of
from churn.drift.reference import count_on, profile_of
from churn.postgres.database import connect
from churn.registry.model_version import ModelVersion
from tests.chromium import artifacts, browser, page_of
from tests.dags.page_app import page_app, served
from tests.integration.serving.page_checks import CONTRASTS, STRUCTURE
from tests.made_lists import insert_list
from tests.made_outcomes import (
    GATE_COHORT,
    OUT_OF_TIME,
    figures,
    insert_drift,
    insert_effect,
    insert_expected,
    insert_judgement,
    withdraw_judgements,
)

__all__ = ["artifacts", "browser"]

MONTHS = [date(2023, 9, 30), date(2023, 10, 31), date(2023, 11, 30), date(2023, 12, 31), date(2024, 1, 31)]
"""Judged dates; the labels of each come with the next."""
FEBRUARY, MARCH = date(2024, 2, 29), date(2024, 3, 31)
BUILD = """
INSERT INTO snapshots.builds (as_of, drop_digest, code_digest, rows, label_dates) VALUES (%s, 'd', 'c', '{}', '{}')
"""
AUCS = [0.81, 0.79, 0.805, 0.71, 0.482]
VERDICTS = ["as promised"] * 3 + ["worse than promised", "no better than chance"]


def parts(auc: float, **different: object) -> list[dict]:
    """The rows of a date: the one that decides, out of time, arms and slices."""
    decides = figures(auc, **different)
    shown = {"decides": False, "verdict": "as promised"}
    return [
        decides,
        figures(auc + 0.004, **different | shown | {"basis": OUT_OF_TIME, "rows": 7043}),
        figures(auc, **different | shown | {"arm": "control", "rows": 140, "verdict": "too few rows"}),
        figures(auc, **different | shown | {"slice": "senior", "rows": 230}),
        figures(None, **different | shown | {"slice": "<b>net service</b>", "rows": 9, "verdict": "too few rows"}),
    ]


def spread(now: object, before: object) -> Distribution:
    reference = profile_of(pa.array(before))
    return distribution_of(count_on(pa.array(now), reference), reference)


NET = spread(["DSL"] * 60 + ["<b>Satellite</b> by night"] * 30 + [None] * 10, ["DSL"] * 70 + ["Fiber"] * 30)
SKIPS = spread(np.arange(1, 1001.0) * 1.5, np.arange(1, 1001.0))
SCORES = spread(np.linspace(0.2, 1, 1000) ** 2, np.linspace(0, 1, 1000) ** 2)


@pytest.fixture(scope="module")
def url(shared_database_url):
    """Version 1 fades, and version 2 is better. January is judged twice, and February has no labels."""
    for day, known, auc, verdict in zip(MONTHS, [*MONTHS[1:], FEBRUARY], AUCS, VERDICTS, strict=True):
        insert_list(shared_database_url, day, 20, model_version=1, model_run_id="run-1")
        insert_expected(shared_database_url, day, 0.8)
        rows = parts(auc, verdict=verdict)
        if day == MONTHS[0]:
            few = {"verdict": "too few rows", "reason": "40 rows with 10 leavers: a verdict needs 200"}
            rows.append(figures(0.6, source="answering", basis=GATE_COHORT, model_version=4, rows=40, **few))
        if day == MONTHS[-1]:
            insert_judgement(shared_database_url, day, day, parts(0.79))
            rows.append(
                figures(0.77, source="answering", basis=GATE_COHORT, model_version=2, promised_auc=0.78, rows=1200)
            )
        insert_judgement(shared_database_url, day, known, rows)
    insert_list(shared_database_url, FEBRUARY, 20, model_version=2, model_run_id="run-2")
    insert_expected(shared_database_url, FEBRUARY, 0.79, model_version=2)
    insert_judgement(shared_database_url, MONTHS[0], MARCH, [])
    withdraw_judgements(shared_database_url, MARCH)
    with connect(shared_database_url) as connection:
        connection.execute(BUILD, [FEBRUARY])
    said = "against its training data: PSI 0.310, limit 0.1"
    insert_drift(shared_database_url, FEBRUARY, "churn_probability", said, SCORES)
    insert_drift(shared_database_url, FEBRUARY, "monthly_fee", "as it was before distributions were stored")
    insert_drift(shared_database_url, FEBRUARY, "net_service", said, NET, finding="new category")
    earlier = {"reference": "before", "reference_as_of": MONTHS[-1]}
    insert_drift(shared_database_url, FEBRUARY, "skips_7d", said, SKIPS, **earlier)
    return shared_database_url


@contextmanager
def in_production(version: int | None) -> Iterator[None]:
    """MLflow answers that this version is in Production."""
    page_app("VIEWER")
    from gate_board import sources

    found = None if version is None else ModelVersion(version, f"run-{version}", "Production", {"as_of": "2023-08-31"})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sources, "registry", lambda: Registry(found, None))
        yield


@pytest.fixture(scope="module")
def address(url):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW_CONN_CHURN_POSTGRES", url)
        # A poll may come after in_production() has ended.
        with in_production(None), served("VIEWER") as found:
            yield found


@pytest.fixture
def page(browser):
    """A page of a browser, which fails the test on an error of the page or a foreign request."""
    with page_of(browser, viewport={"width": 1400, "height": 1000}, color_scheme="light") as page:
        yield page


def open_health(page: Page, address: str) -> Frame:
    page.goto(f"{address}/model-health")
    frame = page.frame(url="**/gate-board/health")
    assert frame is not None
    expect(frame.locator("#status")).to_have_text("")
    return frame


def screenshot(page: Page, frame: Frame, artifacts: Path, name: str) -> None:
    height = frame.locator("body").evaluate("body => body.scrollHeight")
    page.set_viewport_size({"width": 1400, "height": height})
    page.screenshot(path=artifacts / f"health-{name}.png")
    print(f"screenshot: {artifacts / f'health-{name}.png'}")  # noqa: T201


def test_an_alarm_is_said_first_with_what_to_do(page, address, artifacts):
    with in_production(1):
        health = open_health(page, address)
        expect(health.get_by_role("heading", level=2).first).to_have_text(
            "Version 1 in Production is no better than chance"
        )
        expect(health.locator("#advice")).to_contain_text("What to do: Do not use its list")
        expect(health.locator("#advice")).to_contain_text("make rollback")
        expect(health.locator("#headline")).to_contain_text("0.482")
        health.get_by_role("button", name="2024-01-31").click()
        expect(health.locator("#detail-2024-01-31")).to_contain_text("Judgements")
        screenshot(page, health, artifacts, "light")


def test_a_version_that_keeps_its_promise_needs_nothing(page, address):
    with in_production(2):
        health = open_health(page, address)
        expect(health.locator("#headline h2")).to_have_text("Version 2 in Production is as promised")
        expect(health.locator("#headline")).to_contain_text("gate cohort")
        expect(health.locator("#advice")).to_have_count(0)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (3, "Version 3 in Production is not judged yet No labels have come for its scores since it was promoted."),
        (4, "Version 4 in Production is not judged yet Labels of 2023-09-30 came, and they are too few: 40 rows"),
        (None, "Stage Production is empty No version answers, so there is nothing to judge."),
    ],
)
def test_without_a_verdict_the_page_says_why(page, address, version, said):
    with in_production(version):
        health = open_health(page, address)
        expect(health.locator("#headline")).to_have_text(re.compile(re.escape(said).replace(r"\ ", r"\s*")))


def test_what_is_expected_is_shown_until_labels_come_and_whether_to_believe_it(page, address):
    with in_production(2):
        health = open_health(page, address)
        row = health.locator("#date-2024-02-29 tr").first
        for text in ("no labels yet", "0.790", "0.766 to 0.814", "not believed"):
            expect(row).to_contain_text(text)
        expect(health.locator("#headline")).to_contain_text("not to be believed: 0.482 came at 2024-01-31")


def test_the_chart_marks_each_verdict_by_shape_and_shows_where_the_version_changes(page, address):
    with in_production(1):
        health = open_health(page, address)
        marks = {each: health.locator(f'#chart [data-verdict="{each}"]') for each in (*VERDICTS, "too few rows")}
        expect(marks["as promised"]).to_have_count(4)
        expect(marks["worse than promised"]).to_have_count(1)
        expect(marks["no better than chance"]).to_have_count(1)
        expect(marks["too few rows"]).to_have_count(1)
        drawn = {name: each.first.locator("path").last.get_attribute("d") for name, each in marks.items()}
        assert len(set(drawn.values())) == 4
        expect(health.locator("#chart .change")).to_have_count(1)
        expect(health.locator("#chart .band")).to_have_count(1)
        expect(health.locator("#chart text.strong")).to_have_text(["AUC", "version 1", "version 2"])
        for name in ("chance 0.50", "floor 0.55"):
            expect(health.locator("#chart")).to_contain_text(name)


def test_the_columns_that_drifted_are_named_with_their_figures(page, address):
    with in_production(1):
        drift = open_health(page, address).locator("#drift")
        expect(drift.locator("h2")).to_have_text("Columns of 2024-02-29 that drifted")
        expect(drift.locator("tbody tr")).to_have_count(4)
        expect(drift.locator("tbody tr").nth(2).locator("td")).to_have_text(
            ["net_service", "new category", "the training data", "against its training data: PSI 0.310, limit 0.1"]
        )


def test_a_column_that_drifted_is_drawn_with_the_shares_of_both_sides(page, address, artifacts):
    with in_production(1):
        drift = open_health(page, address).locator("#drift")
        expect(drift.locator("figcaption")).to_have_text(
            ["churn_probability against the training data", "net_service against the training data",
             "skips_7d against 2024-01-31"]
        )  # fmt: skip
        net, skips = drift.locator("figure").nth(1), drift.locator("figure").nth(2)
        expect(net.locator("g title")).to_have_text(
            ["DSL: 70.0 % and 60.0 %", "<b>Satellite</b> by night: 0.0 % and 30.0 %", "Fiber: 30.0 % and 0.0 %",
             "NULL: 0.0 % and 10.0 %"]
        )  # fmt: skip
        expect(net.locator("g > text:first-of-type")).to_have_text(["DSL", "<b>Satellite</b> b…", "Fiber", "NULL"])
        # A bar for each share above 0, as long as the share.
        expect(net.locator("rect.then")).to_have_count(2)
        widths = [float(each.get_attribute("width")) for each in net.locator("rect.now").all()]
        assert [width / widths[0] for width in widths] == pytest.approx([1, 0.5, 1 / 6], abs=0.02)
        expect(skips.locator("rect.then")).to_have_count(10)
        drift.screenshot(path=artifacts / "health-drift.png")


def test_a_screen_reader_hears_the_shares_of_a_picture(page, address):
    with in_production(1):
        pictures = open_health(page, address).locator("#drift").get_by_role("img")
        expect(pictures).to_have_count(3)
        expect(pictures.nth(1)).to_have_accessible_name(
            "net_service, shares of the rows of the training data and of 2024-02-29: DSL: 70.0 % and 60.0 %; "
            "<b>Satellite</b> by night: 0.0 % and 30.0 %; Fiber: 30.0 % and 0.0 %; NULL: 0.0 % and 10.0 %."
        )


def test_a_screen_reader_hears_the_newest_figures_and_where_the_others_are(page, address):
    with in_production(1):
        chart = open_health(page, address).locator("#chart .plot")
        expect(chart).to_have_accessible_name(re.compile("AUC of 6 dates, 2023-09-30 to 2024-02-29.*The table below"))


def test_the_table_has_the_figures_of_each_date(page, address):
    with in_production(1):
        health = open_health(page, address)
        row = health.locator("#date-2023-12-31 tr").first
        for text in (
            "2023-12-31", "labels of 2024-01-31", "worse than promised", "the list", "gate and audit cohort", "1,400",
            "350 left", "0.710", "0.684 to 0.736", "0.800", "0.162", "slope 0.94", "churn rate 25.0 %", "2.71",
            "capture 27.1 %", "58.0 %", "recall 61.0 %",
        ):  # fmt: skip
            expect(row).to_contain_text(text)
        expect(health.locator("#date-2023-12-31 .badge")).to_have_count(1)


def test_an_open_date_shows_arms_slices_and_why_it_was_judged_again(page, address):
    with in_production(1):
        health = open_health(page, address)
        health.get_by_role("button", name="2024-01-31").click()
        detail = health.locator("#detail-2024-01-31")
        for text in ("arm control", "senior", "<b>net service</b>", "labels of the drop of 2024-01-31, 2024-02-29"):
            expect(detail).to_contain_text(text)
        judgements = detail.get_by_role("table", name="The judgements").locator("tbody tr")
        expect(judgements.first).to_contain_text("shown")
        expect(judgements.last).to_contain_text("replaced")
        expect(judgements.last).to_contain_text("as promised")
        health.get_by_role("button", name="2023-09-30").click()
        expect(health.locator("#detail-2023-09-30")).to_contain_text("withdrawn")


def test_the_date_in_the_address_is_open(page, address):
    with in_production(1):
        page.goto(f"{address}/gate-board/health#2024-01-31")
        expect(page.locator("#detail-2024-01-31")).to_contain_text("Judgements")


def test_the_keyboard_alone_opens_and_closes_a_date_and_keeps_its_place(page, address):
    with in_production(1):
        health = open_health(page, address)
        reached = []
        for _ in MONTHS:
            page.keyboard.press("Tab")
            reached.append(health.evaluate("document.activeElement.id"))
        assert reached == [f"open-{day}" for day in MONTHS[::-1]]
        opened = reached[0]
        health.locator(f"#{opened}").focus()
        page.keyboard.press("Enter")
        expect(health.locator("#detail-2024-01-31")).to_contain_text("Judgements")
        expect(health.locator(f"#{opened}")).to_be_focused()
        expect(health.locator(f"#{opened}")).to_have_attribute("aria-expanded", "true")
        page.keyboard.press("Enter")
        expect(health.locator("#detail-2024-01-31")).to_be_hidden()
        expect(health.locator(f"#{opened}")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 360])
def test_the_page_is_readable_and_its_parts_have_names(page, address, scheme, width, artifacts):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    with in_production(1):
        health = open_health(page, address)
        health.get_by_role("button", name="2024-01-31").click()
        expect(health.locator("#detail-2024-01-31")).to_contain_text("Judgements")
        assert health.evaluate(STRUCTURE) == []
        assert health.evaluate(CONTRASTS) == []
        assert health.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        page.screenshot(path=artifacts / f"health-{scheme}-{width}.png")


def test_the_page_is_dark_where_the_system_is(page, address, artifacts):
    page.emulate_media(color_scheme="dark")
    with in_production(2):
        health = open_health(page, address)
        assert health.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 17, 17)"
        screenshot(page, health, artifacts, "dark")


def test_where_nothing_is_judged_the_page_says_when_labels_come(page, address, database_url, monkeypatch, artifacts):
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", database_url)
    with in_production(1):
        health = open_health(page, address)
        expect(health.locator("#hint")).to_contain_text("Nothing is judged yet")
        expect(health.locator("#hint")).to_contain_text("labels.csv")
        for part in ("history", "dates", "drift", "versions"):
            expect(health.locator(f"#{part}")).to_be_hidden()
        page.screenshot(path=artifacts / "health-empty.png")


def test_on_a_phone_lists_that_wait_for_labels_leave_room_for_judged_ones(page, address, database_url, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", database_url)
    insert_judgement(database_url, MONTHS[-1], FEBRUARY, [figures(0.8)])
    for number in range(1, 13):
        insert_list(database_url, MONTHS[-1] + timedelta(days=number), 1)
        insert_expected(database_url, MONTHS[-1] + timedelta(days=number), 0.8)
    page.set_viewport_size({"width": 360, "height": 900})
    with in_production(1):
        health = open_health(page, address)
        expect(health.locator('#chart [data-verdict="as promised"]')).to_have_count(1)
        expect(health.locator("#chart")).to_contain_text("of 13 dates; the table has all of them")


def test_after_a_campaign_the_control_arm_is_named_and_the_effect_is_shown(
    page, address, database_url, monkeypatch, artifacts
):
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", database_url)
    rows = [figures(0.62, decides=False), figures(0.79, arm="control", rows=280)]
    insert_effect(database_url, MONTHS[0], insert_judgement(database_url, MONTHS[0], MONTHS[1], rows), -0.2, 3)
    with in_production(1):
        health = open_health(page, address)
        expect(health.locator("#headline")).to_contain_text("control, gate and audit cohort")
        expect(health.locator("#date-2023-09-30 tr").first).to_contain_text("arm control, gate and audit cohort")
        expect(health.locator("#chart [data-verdict]")).to_have_count(1)
        health.get_by_role("button", name="2023-09-30").click()
        detail = health.locator("#detail-2023-09-30")
        expect(detail).to_contain_text("is -20.0 percentage points (95 %: -29.8 to -10.2)")
        expect(detail.locator(".warning")).to_contain_text("3 of arm control were contacted too")
        screenshot(page, health, artifacts, "campaign")


def test_a_new_judgement_appears_without_a_reload_and_an_open_date_stays_open(page, address, database_url, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", database_url)
    insert_judgement(database_url, MONTHS[0], MONTHS[1], [figures(0.8)])
    page.clock.install()
    with in_production(1):
        page.goto(f"{address}/gate-board/health")
        page.get_by_role("button", name="2023-09-30").click()
        expect(page.locator("#detail-2023-09-30")).to_contain_text("first judgement")
        insert_judgement(database_url, MONTHS[0], MONTHS[2], [figures(0.7, verdict="worse than promised")])
        page.clock.run_for(31_000)
        expect(page.locator("#headline h2")).to_have_text("Version 1 in Production is worse than promised")
        expect(page.locator("#news")).to_have_text("Version 1 in Production is worse than promised")
        expect(page.locator("#detail-2023-09-30")).to_contain_text("labels of the drop of 2023-10-31, 2023-11-30")


def test_an_unreachable_database_is_reported_and_asked_again(page, address):
    page.clock.install()
    away = {"detail": "the database `churn` cannot be read: connection refused"}
    page.route("**/api/health", lambda route: route.fulfill(status=503, json=away))
    with in_production(1):
        page.goto(f"{address}/gate-board/health")
        expect(page.locator("#problems")).to_contain_text("cannot be read: connection refused")
        page.unroute("**/api/health")
        page.clock.run_for(31_000)
        expect(page.locator("#headline")).to_contain_text("Version 1 in Production")
        expect(page.locator("#problems")).to_have_text("")
