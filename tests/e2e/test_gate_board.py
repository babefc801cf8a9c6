"""The gate board in a real browser, opened from the navigation of the running Airflow."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from mlflow import MlflowClient
from playwright.sync_api import BrowserContext, FrameLocator, Page, Request, expect

from churn.gate.decision_files import folder_of
from tests.board_decisions import a_decision, append_decisions
from tests.chromium import artifacts, browser
from tests.e2e.stack import REPOSITORY, Stack, clean_environment, free_ports
from tests.patience import wait_for

__all__ = ["artifacts", "browser"]

ROUTES = (
    "/",
    "/static/board.js",
    "/api/mark",
    "/api/board",
    "/api/decisions/1",
    "/api/decisions/1/files",
    "/api/decisions/1/files/report.html",
    "/risk",
    "/api/scores",
    "/api/scores/2024-01-31/1",
    "/api/scores/2024-01-31/1/customers",
    "/api/scores/2024-01-31/1/contacts.csv?depth=10",
)
CURVE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 200"><rect width="300" height="200" fill="#fff"/>'
    '<path d="M20 180C60 40 160 30 280 20" fill="none" stroke="#07c" stroke-width="3"/></svg>'
)
CARD = "<!doctype html><title>Model card</title><h1>Model card</h1><script>document.title = 'a script ran'</script>"


@pytest.fixture(scope="module")
def decisions(stack) -> list[int]:
    """The ids of decisions of every outcome in addition to the chain's, the newest with pictures."""
    client = stack.client()
    run_id = client.create_run(client.get_experiment_by_name("streamflow").experiment_id).info.run_id
    made = [a_decision(number * 7, run_id=run_id, **_outcome(number)) for number in range(8)]
    numbers = append_decisions(stack.settings["CHURN_DATABASE_URL"], made)
    for name in ("roc", "calibration", "slices"):
        client.log_text(run_id, CURVE, f"{folder_of(numbers[-1])}/pictures/{name}.svg")
    client.log_text(run_id, CARD, f"{folder_of(numbers[-1])}/report.html")
    return numbers


def _outcome(number: int) -> dict[str, str]:
    return {"outcome": ("KEEP", "PROMOTE", "INVALID")[number % 3]}


@pytest.fixture(scope="module")
def context(browser) -> Iterator[BrowserContext]:
    """A profile that keeps Airflow's scripts: each test would load megabytes of them."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.fixture
def page(context, stack, decisions) -> Iterator[Page]:
    """Airflow in a browser, which fails the test on a foreign request or an error of the page."""
    # On a busy machine the first answer takes as long as an import of MLflow's client.
    expect.set_options(timeout=60_000)
    page, errors, hosts = context.new_page(), [], set()

    def seen(request: Request) -> None:
        hosts.add(urlsplit(request.url).hostname)

    page.on("pageerror", lambda error: errors.append(str(error)))
    context.on("request", seen)
    page.goto(stack.settings["AIRFLOW_URL"])
    yield page
    page.evaluate("localStorage.clear()")
    for each in context.pages:
        each.close()
    context.remove_listener("request", seen)
    assert errors == []
    assert hosts - {None} == {"127.0.0.1"}


@pytest.fixture
def board(page) -> FrameLocator:
    return open_board(page)


def open_board(page: Page) -> FrameLocator:
    """Open the board from the navigation."""
    page.get_by_role("link", name="Gate board").first.click()
    frame = page.frame_locator('iframe[title="Gate board"]')
    expect(frame.locator("#decisions table")).to_be_visible()
    return frame


def screenshot(page: Page, artifacts: Path, name: str) -> None:
    page.screenshot(path=artifacts / f"gate-board-{name}.png")
    print(f"screenshot: {artifacts / f'gate-board-{name}.png'}")  # noqa: T201


def test_the_navigation_leads_to_production_and_the_timeline(page, board, stack, decisions, artifacts):
    production = board.locator("#production")
    expect(production).to_contain_text(f"version{stack.production()}")
    for text in ("AS_OF", "age", "pin", "latest AUC"):
        expect(production).to_contain_text(text)
    count = stack.query("SELECT count(*) FROM gate.decisions")[0][0]
    expect(board.locator("#chart .slot")).to_have_count(min(count, 1000))
    for outcome in ("PROMOTE", "KEEP", "INVALID"):
        expect(board.locator(f".slot[data-outcome={outcome}]").first).to_be_visible()
    screenshot(page, artifacts, "light")


def test_the_freshness_table_shows_each_as_of_and_the_served_one(board, stack):
    served = stack.query("SELECT as_of FROM online.served")[0][0]
    expect(board.locator("#dates tr", has_text=str(served))).to_contain_text("features")


def test_a_click_opens_a_decision_with_its_checks_and_pictures(page, board, decisions, artifacts):
    board.locator(f"#slot-{decisions[-1]}").click()
    opened = board.locator("#decision")
    for text in ("AUC floor", "0.6000", "The AUC is far above a coin's.", "PASS", "net_service = a", "371 churned"):
        expect(opened).to_contain_text(text)
    expect(opened).to_contain_text("<b>markup stays text</b>")
    expect(opened.locator("img")).to_have_count(3)
    opened.locator("img").first.scroll_into_view_if_needed()
    wait_for(lambda: opened.locator("img").first.evaluate("image => image.naturalWidth") > 0, seconds=60)
    board.locator("#decision-title").scroll_into_view_if_needed()
    screenshot(page, artifacts, "decision")


def test_the_keyboard_opens_a_decision_and_returns_the_focus(page, board, decisions):
    last = board.locator("#chart .slot[tabindex='0']")
    last.focus()
    page.keyboard.press("ArrowLeft")
    chosen = board.locator(".slot:focus")
    chosen_id = chosen.get_attribute("data-decision")
    page.keyboard.press("Enter")
    expect(board.locator("#decision-title")).to_be_focused()
    expect(board.locator("#decision-title")).to_contain_text(f"Decision {chosen_id}:")
    page.keyboard.press("Escape")
    expect(board.locator("#decision")).to_be_hidden()
    expect(board.locator(f"#slot-{chosen_id}")).to_be_focused()


def test_the_model_card_opens_in_a_tab_of_its_own_and_runs_no_script(page, board, decisions):
    board.locator(f"#slot-{decisions[-1]}").click()
    with page.context.expect_page() as opened:
        board.get_by_role("link", name="Model card").click()
    opened.value.wait_for_load_state()
    assert opened.value.title() == "Model card"


def test_the_board_is_dark_where_the_system_or_airflow_is(page, artifacts):
    def background(board: FrameLocator) -> str:
        return board.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")

    page.emulate_media(color_scheme="dark")
    board = open_board(page)
    assert background(board) == "rgb(17, 17, 17)"
    screenshot(page, artifacts, "dark")
    # As Airflow keeps the choice of its user.
    page.evaluate("localStorage.setItem('theme', 'light')")
    wait_for(lambda: background(board) == "rgb(255, 255, 255)", seconds=20)


def test_a_pin_and_a_new_decision_appear_without_a_reload(page, board, stack):
    board.locator("body").evaluate("() => { window.notReloaded = true }")
    pin = {"version": stack.production(), "who": "ann", "why": "<i>off</i>", "at": "2024-06-01T00:00:00"}
    client: MlflowClient = stack.client()
    client.set_registered_model_tag("streamflow_churn", "gate.pin", json.dumps(pin))
    try:
        (new,) = append_decisions(stack.settings["CHURN_DATABASE_URL"], [a_decision(70)])
        expect(board.locator(f"#slot-{new}")).to_be_attached()
        expect(board.locator("#pin")).to_contain_text("by ann on 2024-06-01 00:00: <i>off</i>")
    finally:
        client.delete_registered_model_tag("streamflow_churn", "gate.pin")
    assert board.locator("body").evaluate("() => window.notReloaded")


def test_an_unreachable_database_is_reported_and_the_page_keeps_its_data(page, board):
    problem = {"detail": "the database `churn` cannot be read: connection refused"}
    page.route("**/gate-board/api/mark", lambda route: route.fulfill(status=503, json=problem))
    expect(board.locator("#problems")).to_contain_text("cannot be read: connection refused")
    expect(board.locator("#decisions table")).to_be_visible()
    page.unroute("**/gate-board/api/mark")
    expect(board.locator("#problems")).to_have_text("")


@pytest.mark.parametrize("name", ["At risk", "Health"])
def test_the_navigation_leads_to_the_other_pages(page, stack, name):
    """What they show is tried in tests/dags/test_risk_page.py and test_health_page.py."""
    page.get_by_role("link", name=name).first.click()
    frame = page.frame_locator(f'iframe[title="{name}"]')
    expect(frame.get_by_role("heading", name=name, level=1)).to_be_visible()
    expect(frame.locator("#status")).not_to_have_text("Reading …")
    expect(frame.locator("#problems")).to_have_text("")


def test_a_thousand_decisions_are_answered_in_300_milliseconds_and_drawn(page, stack):
    """The last browser test, as the others need few decisions."""
    append_decisions(stack.settings["CHURN_DATABASE_URL"], (a_decision(100 + number) for number in range(1000)))
    address = f"{stack.settings['AIRFLOW_URL']}/gate-board/api/board"
    seconds = []
    with requests.Session() as session:
        for _ in range(5):
            started = time.perf_counter()
            answer = session.get(address, headers=_token(stack), timeout=30)
            seconds.append(time.perf_counter() - started)
            assert len(answer.json()["decisions"]) == 1000
    assert min(seconds) < 0.3, seconds
    board = open_board(page)
    expect(board.locator("#chart .slot")).to_have_count(1000)


def _token(stack: Stack) -> dict[str, str]:
    token = requests.get(f"{stack.settings['AIRFLOW_URL']}/auth/token", timeout=10).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def strict_airflow(stack, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A second API server over the same stack that requires a login: its address, and the file of passwords.

    The embedded one accepts requests without credentials.
    """
    directory = tmp_path_factory.mktemp("strict")
    (port,) = free_ports("AIRFLOW_PORT").values()
    address, passwords = f"http://127.0.0.1:{port}", directory / "passwords.json"
    settings = stack.settings | {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": address,
    }
    with (directory / "log.txt").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "airflow", "api-server"],
            cwd=REPOSITORY,
            env={**clean_environment(), **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(lambda: _answers(address), seconds=200, or_say=(directory / "log.txt").read_text)
        yield address, passwords
    finally:
        # It has nothing to finish, and would take a quarter of a minute.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/api/v2/monitor/health", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_of_the_pages_requires_a_login(strict_airflow, route):
    address = f"{strict_airflow[0]}/gate-board{route}"
    assert requests.get(address, timeout=30).status_code == 401
    assert requests.get(address, headers={"Authorization": "Bearer made.up"}, timeout=30).status_code == 403
    assert requests.get(address, cookies={"_token": "made.up"}, timeout=30).status_code in (401, 403)


def test_a_signed_in_user_reads_the_board_with_the_cookie_of_the_session(strict_airflow):
    address, passwords = strict_airflow
    login = {"username": "admin", "password": json.loads(passwords.read_text())["admin"]}
    token = requests.post(f"{address}/auth/token", json=login, timeout=30).json()["access_token"]
    answer = requests.get(f"{address}/gate-board/api/board", cookies={"_token": token}, timeout=30)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
