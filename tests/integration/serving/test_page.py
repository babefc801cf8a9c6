"""The page of the serving API in a real browser, over a service that answers what the test wants to see."""

import re

import pytest
import requests
from playwright.sync_api import Page, expect

from serving.problems import TYPES
from serving.schemas import Prediction
from tests.chromium import artifacts, browser, page_of
from tests.integration.serving.page_checks import CONTRASTS, STRUCTURE
from tests.integration.serving.page_service import KEY, METHOD, page_service
from tests.patience import SLOWNESS

__all__ = ["artifacts", "browser"]

NOON = "2024-03-01T12:00:00Z"
MINUS = "\N{MINUS SIGN}"
SCHEMES = ("light", "dark")
WIDTHS = {"wide": 1100, "narrow": 320}
HOSTILE = "'\"><img src=x onerror=alert(1)>%00/../?&#+ \u202eabc"


@pytest.fixture
def service():
    with page_service() as service:
        yield service


@pytest.fixture
def page(browser, service):
    """A page of a browser that tells what it asked for; nothing of it may break, and nothing asks elsewhere."""
    with page_of(browser, viewport={"width": WIDTHS["wide"], "height": 900}) as page:
        page.clock.install(time=NOON)
        yield page


@pytest.fixture
def opened(page, service):
    page.goto(service.address)
    expect(page.get_by_role("status")).to_contain_text("Version 7")
    return page


def ask(page: Page, user_id: str) -> None:
    page.get_by_role("textbox", name="Customer id").fill(user_id)
    page.keyboard.press("Enter")


def result(page: Page, title: str):
    return page.get_by_role("region", name=title)


def news(page: Page):
    return page.locator("[aria-live=polite]")


def test_the_stub_answers_of_the_form_that_the_service_declares(service):
    assert Prediction.model_validate(service.answer("leaver")).model.version == 7


def test_the_page_and_its_files_come_with_headers_that_keep_everything_else_out(service):
    for path in ("/", "/page/page.js", "/page/page.css"):
        answer = requests.get(service.address + path, timeout=30 * SLOWNESS)
        assert answer.status_code == 200
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_the_page_opens_with_the_version_that_answers_and_the_focus_in_the_field(opened):
    status = "Version 7 of streamflow_churn answers. Its AS_OF is 2024-01-31, 30 days ago."
    expect(opened.get_by_role("status")).to_have_text(status)
    expect(opened.get_by_role("textbox", name="Customer id")).to_be_focused()
    expect(opened.locator("#result")).to_be_hidden()


@pytest.mark.parametrize(
    ("user_id", "decision", "percent", "side"),
    [("leaver", "Will leave", "82.3", "at or above"), ("stayer", "Will stay", "7.0", "below")],
)
def test_an_answer_tells_the_decision_and_the_probability_against_the_threshold(
    opened, user_id, decision, percent, side
):
    ask(opened, user_id)
    answer = result(opened, f"Customer {user_id}")
    expect(answer).to_contain_text(decision)
    expect(answer).to_contain_text(f"The probability of leaving is {percent} %, {side} the threshold of 41.0 %.")
    meter = answer.get_by_role("meter", name="Probability of leaving")
    expect(meter).to_have_attribute("aria-valuenow", percent.removesuffix(".0"))
    expect(meter).to_have_attribute(
        "aria-valuetext", f"{percent}\N{NO-BREAK SPACE}%, threshold 41.0\N{NO-BREAK SPACE}%"
    )
    filled = meter.evaluate(
        "meter => meter.querySelector('.filled').getBoundingClientRect().width / meter.clientWidth * 100"
    )
    assert filled == pytest.approx(float(percent), abs=0.5)


def test_a_probability_just_below_the_threshold_is_not_shown_as_equal_to_it(opened):
    ask(opened, "close")
    expect(result(opened, "Customer close")).to_contain_text("41.299 %, below the threshold of 41.301 %")


def test_an_answer_tells_the_version_and_how_old_model_and_features_are(opened):
    ask(opened, "leaver")
    facts = result(opened, "Customer leaver").locator("dl > div")
    expect(facts.nth(0)).to_have_text("Modelversion 7streamflow_churn")
    expect(facts.nth(1)).to_have_text("AS_OF of the model2024-01-3130 days ago")
    expect(facts.nth(2)).to_have_text("AS_OF of the features2024-02-291 day ago")


def test_what_moved_the_prediction_is_a_table_that_tells_value_direction_and_method(opened):
    ask(opened, "leaver")
    answer = result(opened, "Customer leaver")
    rows = answer.locator("tbody").get_by_role("row")
    expect(rows).to_have_count(14)
    moved = [row.inner_text().split() for row in rows.all()[:4]]
    assert [(row[0], row[-1]) for row in moved] == [
        ("Months", "+18.2"),
        ("Net", "+9.3"),
        ("Monthly", f"{MINUS}4.1"),
        ("Plan", f"{MINUS}3.0"),
    ]
    expect(rows.nth(1)).to_contain_text("<b>Fiber optic</b>")
    expect(rows.nth(3)).to_contain_text("no value")
    expect(rows.nth(4)).to_contain_text("0.0")
    watched = answer.get_by_role("row", name="watch hours, last 30 days")
    expect(watched).to_contain_text("1,234.5")
    expect(watched).to_contain_text("not told")
    expect(answer.get_by_role("row", name="average session minutes, last 7 days")).to_contain_text("24.12")
    expect(answer.get_by_role("row", name="ticket average resolution hours")).to_contain_text("0.0042")
    expect(answer).to_contain_text(f"Method: {METHOD}")


def test_a_bar_goes_to_the_side_that_its_sign_says(opened):
    ask(opened, "leaver")
    table = result(opened, "Customer leaver").get_by_role("table")
    middle = table.locator(".middle").first.bounding_box()["x"]
    leaving, staying = table.locator("rect.leave").first.bounding_box(), table.locator("rect.stay").first.bounding_box()
    assert leaving["x"] == pytest.approx(middle, abs=1.5)
    assert staying["x"] + staying["width"] == pytest.approx(middle, abs=1.5)


@pytest.mark.parametrize("explanation", [None, {"method": METHOD, "effects": []}])
def test_an_answer_without_an_explanation_shows_the_features_and_says_so(opened, service, explanation):
    service.explanation = explanation
    ask(opened, "leaver")
    answer = result(opened, "Customer leaver")
    expect(answer.get_by_role("columnheader")).to_have_text(["Feature", "Value"])
    expect(answer.locator("tbody").get_by_role("row")).to_have_count(14)
    expect(answer).to_contain_text("What moved the probability is not told for this version.")


def test_enter_takes_the_focus_to_the_answer_and_the_live_region_reads_it_out(opened):
    ask(opened, "leaver")
    expect(opened.get_by_role("heading", name="Customer leaver")).to_be_focused()
    told = "Will leave: the probability of leaving is 82.3 %, at or above the threshold of 41.0 %."
    expect(news(opened)).to_have_text(told)
    opened.keyboard.press("Escape")
    field = opened.get_by_role("textbox", name="Customer id")
    expect(field).to_be_focused()
    assert field.evaluate("field => [field.selectionStart, field.selectionEnd]") == [0, len("leaver")]


def test_a_slow_answer_is_said_to_be_asked_for_and_takes_no_focus_from_who_types_on(opened, service):
    ask(opened, "slow")
    expect(result(opened, "Asking about customer slow …")).to_be_visible()
    expect(opened.locator("#result")).to_have_attribute("aria-busy", "true")
    opened.keyboard.type("er")
    service.slow_may_answer.set()
    expect(result(opened, "Customer slow")).to_contain_text("Will leave")
    expect(opened.get_by_role("textbox", name="Customer id")).to_be_focused()
    expect(news(opened)).to_contain_text("Customer slow. Will leave")
    expect(opened.locator("#result")).not_to_have_attribute("aria-busy", "true")


def test_a_second_question_replaces_the_first_whose_late_answer_is_dropped(opened, service):
    ask(opened, "slow")
    expect(result(opened, "Asking about customer slow …")).to_be_visible()
    ask(opened, "stayer")
    expect(result(opened, "Customer stayer")).to_be_visible()
    service.slow_may_answer.set()
    assert service.slow_has_answered.wait(60)
    ask(opened, "leaver")
    expect(result(opened, "Customer leaver")).to_be_visible()
    assert service.asked == ["slow", "stayer", "leaver"]


def test_an_answer_to_an_older_question_changes_nothing_even_when_it_arrives(opened, service):
    """Where the browser could not call the first question off."""
    opened.evaluate("AbortController.prototype.abort = () => {}")
    ask(opened, "slow")
    ask(opened, "stayer")
    expect(result(opened, "Customer stayer")).to_be_visible()
    with opened.expect_response(lambda response: "slow" in (response.request.post_data or "")) as late:
        service.slow_may_answer.set()
    late.value.finished()
    expect(result(opened, "Customer stayer")).to_be_visible()
    assert opened.evaluate("new Promise(done => setTimeout(() => done(document.title), 100))").startswith("stayer")
    expect(result(opened, "Customer stayer")).to_be_visible()


def test_an_unknown_customer_is_told_as_such_and_a_blank_at_its_end_is_pointed_out(opened):
    ask(opened, "nobody ")
    answer = result(opened, "Unknown customer")
    expect(answer).to_contain_text("Customer nobody is not among the online features.")
    expect(answer).to_contain_text("begins or ends with a blank")
    expect(opened.get_by_role("heading", name="Unknown customer")).to_be_focused()
    expect(news(opened)).to_contain_text("is not among the online features")
    expect(answer.get_by_role("button")).to_have_count(0)


def test_missing_features_are_listed(opened):
    ask(opened, "incomplete-features")
    missing = result(opened, "Features are missing").get_by_role("list", name="Missing features")
    expect(missing.get_by_role("listitem")).to_have_text(["skips_7d", "failed_payments_90d"])


def test_an_overloaded_service_says_when_to_try_again_and_the_button_does(opened, service):
    ask(opened, "overloaded")
    answer = result(opened, "Too many are asking at the moment")
    expect(answer).to_contain_text("Try again in 3 seconds.")
    answer.get_by_role("button", name="Try again").press("Enter")
    expect(opened.get_by_role("heading", name="Too many are asking")).to_be_focused()
    assert service.asked == ["overloaded", "overloaded"]


@pytest.mark.parametrize("type_", sorted(set(TYPES) - {"unknown-user"}))
def test_every_problem_of_the_service_has_a_heading_and_its_detail(opened, type_):
    ask(opened, type_)
    answer = result(opened, re.compile(".{8,}"))
    expect(answer).to_contain_text(f"The service says: detail of {type_}")
    expect(news(opened)).to_contain_text(f"The service says: detail of {type_}")


def test_nothing_typed_is_asked_for_in_words_and_of_nobody_else(opened, service):
    ask(opened, "")
    field = opened.get_by_role("textbox", name="Customer id")
    expect(result(opened, "Type a customer id")).to_be_visible()
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("^Type a customer id"))
    ask(opened, "leaver")
    expect(result(opened, "Customer leaver")).to_be_visible()
    expect(field).not_to_have_attribute("aria-invalid", "true")
    assert service.asked == ["leaver"]


def test_a_service_that_wants_a_key_gets_one_that_is_kept_in_memory_alone(opened, service):
    service.needs_key = True
    key = opened.get_by_label("API key", exact=True)
    expect(key).to_be_hidden()
    ask(opened, "leaver")
    expect(result(opened, "The service wants an API key")).to_contain_text("this is not one of the keys")
    expect(key).to_be_focused()
    key.fill("zu-früh")
    key.press("Enter")
    expect(result(opened, "That cannot be an API key")).to_contain_text("no blanks, accents or umlauts")
    key.fill(KEY)
    key.press("Enter")
    expect(result(opened, "Customer leaver")).to_be_visible()
    assert service.keys == [None, f"Bearer {KEY}"]
    kept = opened.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
    assert KEY not in kept
    opened.reload()
    expect(result(opened, "The service wants an API key")).to_be_visible()


def test_no_connection_is_said_and_asking_again_mends_it(opened):
    opened.route("**/predict*", lambda route: route.abort())
    ask(opened, "leaver")
    answer = result(opened, "No connection to the service")
    expect(answer).to_be_visible()
    opened.unroute("**/predict*")
    answer.get_by_role("button", name="Try again").click()
    expect(result(opened, "Customer leaver")).to_be_visible()


@pytest.mark.parametrize("user_id", ["proxy", "nonsense"])
def test_an_answer_of_another_form_is_not_mistaken_for_one(opened, user_id):
    ask(opened, user_id)
    expect(result(opened, "The answer cannot be read")).to_be_visible()


def test_the_top_follows_the_service_without_a_reload(opened, service):
    status = opened.get_by_role("status")
    service.version = 8
    opened.clock.fast_forward(10_000)
    expect(status).to_contain_text("Version 8 of streamflow_churn answers")
    service.trouble = "the registry is away"
    opened.clock.fast_forward(10_000)
    expect(status).to_contain_text("30 days ago. Production may be another one now: the registry is away")
    service.ready = False
    opened.clock.fast_forward(10_000)
    expect(status).to_have_text("The service is not ready: model-unavailable: stage Production is empty")
    opened.route("**/health/ready", lambda route: route.abort())
    opened.clock.fast_forward(10_000)
    expect(status).to_have_text("No connection to the service.")


def test_the_address_keeps_the_id_and_asks_at_once_when_it_is_opened(opened, service):
    user_id = "a b&c=d#é+%"
    ask(opened, user_id)
    expect(result(opened, "Unknown customer")).to_be_visible()
    opened.goto(opened.url)
    expect(result(opened, "Unknown customer")).to_be_visible()
    expect(opened.get_by_role("textbox", name="Customer id")).to_have_value(user_id)
    expect(news(opened)).to_contain_text("Unknown customer. Customer a b&c=d#é+% is not")
    assert service.asked == [user_id, user_id]


def test_the_blanks_around_what_is_pasted_are_left_out_and_no_others(opened, service):
    field = opened.get_by_role("textbox", name="Customer id")
    field.fill("7892-")
    field.evaluate("""field => {
        const clipboardData = new DataTransfer();
        clipboardData.setData("text", "\\t PO OKP \\n");
        field.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
    }""")
    expect(field).to_have_value("7892-PO OKP")
    ask(opened, " typed ")
    expect(result(opened, "Unknown customer")).to_be_visible()
    assert service.asked == [" typed "]


def test_an_id_that_looks_like_markup_stays_text(opened, service):
    ask(opened, HOSTILE)
    answer = result(opened, "Unknown customer")
    expect(answer.locator("bdi")).to_have_text(HOSTILE)
    expect(answer.locator("img")).to_have_count(0)
    assert service.asked == [HOSTILE]


def test_the_tab_key_goes_through_the_page_in_its_order(opened, service):
    service.needs_key = True
    ask(opened, "leaver")
    expect(opened.get_by_label("API key", exact=True)).to_be_focused()
    opened.get_by_role("textbox", name="Customer id").focus()
    seen = []
    for _ in range(4):
        seen.append(opened.evaluate("document.activeElement.id || document.activeElement.textContent"))
        opened.keyboard.press("Tab")
    assert seen == ["user-id", "Ask", "key", "described here"]


@pytest.mark.parametrize("user_id", ["leaver", "incomplete-features", "overloaded", "nobody", ""])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_stands_out_and_every_part_has_its_name(opened, scheme, user_id):
    opened.emulate_media(color_scheme=scheme)
    opened.locator("#key-field").evaluate("field => { field.hidden = false; }")
    ask(opened, user_id)
    expect(opened.locator("#result-title")).to_be_visible()
    assert opened.evaluate(STRUCTURE) == []
    assert opened.evaluate(CONTRASTS) == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_an_answer_fits_the_window(opened, artifacts, scheme, width):
    opened.emulate_media(color_scheme=scheme)
    opened.set_viewport_size({"width": WIDTHS[width], "height": 900})
    ask(opened, "leaver")
    expect(result(opened, "Customer leaver")).to_be_visible()
    assert opened.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    screenshot(opened, artifacts, f"{scheme}-{width}")


def test_a_problem_with_a_long_id_fits_the_window(opened, artifacts):
    opened.set_viewport_size({"width": WIDTHS["narrow"], "height": 900})
    ask(opened, "x" * 200)
    expect(result(opened, "Unknown customer")).to_be_visible()
    assert opened.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    screenshot(opened, artifacts, "unknown-narrow")


@pytest.mark.parametrize("user_id", ["stayer", "incomplete-features", "overloaded"])
def test_each_state_has_its_picture(opened, artifacts, user_id):
    ask(opened, user_id)
    expect(opened.locator("#result-title")).to_be_focused()
    screenshot(opened, artifacts, user_id)


def screenshot(page: Page, artifacts, name: str) -> None:
    page.screenshot(path=artifacts / f"serving-page-{name}.png", full_page=True)
    print(f"screenshot: {artifacts / f'serving-page-{name}.png'}")  # noqa: T201
