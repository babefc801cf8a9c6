"""Makes the pictures in docs/pictures/ from the running stack (make up), with Chromium.

From the top of the checkout: `set -a; eval "$(make -s env)"; .venv/bin/python docs/pictures/make.py`
"""

import os
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(120_000)
    # Airflow's own page signs in; the board alone would answer 401.
    page.goto(os.environ["AIRFLOW_URL"])
    page.get_by_role("link", name="Gate board").first.wait_for()
    page.goto(f"{os.environ['AIRFLOW_URL']}/gate-board/")
    page.locator("#timeline").wait_for()
    # The board asks MLflow in the background, and shows so until it has the answer.
    page.get_by_text("MLflow has not answered yet").wait_for(state="hidden")
    page.screenshot(path=Path(__file__).with_name("gate-board.png"))
    page.goto(f"{os.environ['AIRFLOW_URL']}/gate-board/risk")
    page.locator("#quality").wait_for()
    for label, figure in (("Cost of a contact", "5"), ("Success rate", "30"), ("Margin of a kept customer", "120")):
        page.get_by_label(label).fill(figure)
    page.locator("#best").wait_for()
    page.screenshot(path=Path(__file__).with_name("at-risk.png"))
    page.goto(f"{os.environ['AIRFLOW_URL']}/gate-board/health")
    page.locator("#dates").wait_for()
    page.screenshot(path=Path(__file__).with_name("health.png"))
    browser.close()
