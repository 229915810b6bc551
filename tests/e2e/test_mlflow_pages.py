"""MLflow's pages in a browser: they open for classic training and say what a run and a version are."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pipelines.runner import RunSummary
from ratchet.experiments.comparison.link import LOCAL_PAGES
from ratchet.experiments.comparison.record import log_comparison
from ratchet.experiments.comparison.table import Comparison, compare
from ratchet.settings import Settings
from tests.conftest import ROOT
from tests.training_runs import config_for, train_in
from tests.waiting import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
RUN_TAGS = {"pipeline", "data_version", "git_commit", "outcome", "model_version"}
VERSION_TAGS = RUN_TAGS - {"model_version"} | {"package_digest"}


@pytest.fixture(scope="module")
def compared(first: RunSummary, settings: Settings) -> Comparison:
    """A comparison of the baseline and a variation."""
    train_in(settings, config_for("iris", name="variation_svm"))
    found = compare(settings, "iris")
    log_comparison(settings, found)
    return found


@pytest.fixture(scope="module")
def pages(compared: Comparison) -> Iterator[str]:
    """The URL of ``run.py ui mlflow``."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "run.py", "ui", "mlflow", "--port", str(port), "--no-browser"]
    server = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(url), 120)
        yield url
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def page(pages: str) -> Iterator[Page]:
    """A page of a browser that was never here before."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        made = browser.new_page(viewport={"width": 1440, "height": 1600})
        made.set_default_timeout(60_000)
        yield made
        browser.close()


def _answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    except OSError:
        return False


def test_the_experiment_opens_with_its_runs_and_a_run_with_description_tags_and_model(
    page: Page, pages: str, first: RunSummary
) -> None:
    page.goto(pages)
    page.get_by_role("link", name="iris", exact=True).click()
    page.get_by_role("heading", name="Runs").wait_for()
    assert "workflowType=machine_learning" in page.url
    page.get_by_role("link", name=first.run_name).click()
    page.get_by_text("Promoted with f1_macro").wait_for()
    page.get_by_text("Logged models (1)").wait_for()
    text = page.inner_text("body")
    assert "Ask questions about" not in text, "the assistant is closed"
    assert {line.removeprefix("ratchet.") for line in text.splitlines() if line.startswith("ratchet.")} == RUN_TAGS
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_title("iris", exact=True).click()
    page.get_by_text("Model schema").wait_for()
    page.get_by_text("species").first.wait_for()
    assert {"double", "string"} <= set(page.inner_text("body").splitlines())


def test_a_version_shows_its_description_and_five_tags(page: Page, pages: str, first: RunSummary) -> None:
    page.goto(f"{pages}/#/models/iris/versions/{first.promotion.version}")
    page.get_by_role("columnheader", name="reason").wait_for()
    text = page.inner_text("body")
    for part in ("Promoted with f1_macro", "python run.py serve --model iris", "python run.py reproduce"):
        assert part in text
    tags = page.get_by_text("ratchet.")
    assert {
        tag.removeprefix("ratchet.") for tag in tags.all_inner_texts() if tag.startswith("ratchet.")
    } == VERSION_TAGS


def test_the_comparison_opens_in_mlflow_and_is_in_an_experiment_of_its_own(
    page: Page, pages: str, compared: Comparison
) -> None:
    page.goto(compared.url.replace(LOCAL_PAGES, pages))
    page.get_by_text(f"Comparing {len(compared.rows)} Runs from 1 Experiment").wait_for()
    assert "train.estimator" in page.inner_text("body")
    page.goto(f"{pages}/#/experiments")
    page.get_by_role("link", name="iris.comparisons").click()
    page.get_by_role("link", name="comparison", exact=True).click()
    page.get_by_text("estimator SVC").first.wait_for()
