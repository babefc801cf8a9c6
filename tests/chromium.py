"""Fixtures for tests that open a page in a real browser."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.patience import SLOWNESS

CHROMIUM = shutil.which("chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of screenshots: $TEST_ARTIFACTS, or pytest's own."""
    named = os.environ.get("TEST_ARTIFACTS")
    directory = Path(named) if named else tmp_path_factory.mktemp("artifacts")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; without it the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    expect.set_options(timeout=30_000 * SLOWNESS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@contextmanager
def page_of(browser: Browser, **options: object) -> Iterator[Page]:
    """Yield a page, and fail if anything of it broke or asked another host. `options` are those of Playwright's
    new_context()."""
    context = browser.new_context(**options)
    page, broken, hosts = context.new_page(), [], set()
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda said: _complains(said) and broken.append(said.text))
    context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    yield page
    context.close()
    assert broken == []
    assert hosts == {"127.0.0.1"}


def _complains(said: ConsoleMessage) -> bool:
    """An error, a breach of the page's policy among them; not the line about each answer that is not a success."""
    return said.type == "error" and not said.text.startswith("Failed to load resource")
