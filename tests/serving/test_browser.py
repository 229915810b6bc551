"""The pages of the service in a real browser: landing page, documentation, feedback form, and the page for a key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.serving.conftest import KEYS
from tests.serving.running import RECORD, Service

pytestmark = pytest.mark.slow
CHROMIUM = Path("/usr/bin/chromium")
PHONE = {"width": 390, "height": 844}
WIDTH = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab of its own; a page that breaks its policy, or a script that fails, fails the test."""
    context = browser.new_context()
    page, errors = context.new_page(), list[str]()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None)
    yield page
    context.close()
    assert errors == []


def address(service: Service, path: str = "/") -> str:
    return f"http://127.0.0.1:{service.port}{path}"


def test_the_landing_page_predicts_explains_and_leads_to_the_feedback_form(service: Service, page: Page) -> None:
    page.goto(address(service))
    assert "now)" in (since := page.locator("time").first.text_content() or "") or "ago)" in since
    for name, value in RECORD.items():
        page.fill(f"[name={name}]", str(value))
    page.click("text=Predict and explain")
    page.wait_for_selector("#contributions table")
    assert page.text_content("#prediction") == "setosa"
    assert page.locator("#probabilities th").all_text_contents() == ["setosa", "versicolor", "virginica"]
    assert set(page.locator("#contributions th").all_text_contents()) == set(RECORD)
    widths = page.locator("#probabilities .track > span").evaluate_all("bars => bars.map(bar => bar.offsetWidth)")
    assert widths[0] > 10 * max(widths[1:]), "a bar is as long as its probability"
    one = page.text_content("#prediction-id") or ""
    page.click("text=Confirm or correct this prediction")
    page.wait_for_url("**/feedback/form?token=*")
    assert one in (page.text_content("footer") or "")
    page.click("text=versicolor")
    page.click("text=Send")
    assert "the correct species is versicolor" in (page.text_content("[role=status]") or "")


def test_each_wrong_value_has_a_sentence_at_its_field(service: Service, page: Page) -> None:
    page.goto(address(service))
    page.fill("[name=sepal_length]", "long")
    page.fill("[name=sepal_width]", "")
    page.fill("[name=petal_length]", "1e300")
    page.click("text=Predict and explain")
    page.wait_for_selector("#form-error:visible")
    messages = [page.text_content(f"#field-{number}-error") or "" for number in range(1, 5)]
    assert messages[0] == "Enter a number, such as 6.1."
    assert messages[1] == "Enter a value: it was never missing in the training data."
    assert messages[2].startswith("Enter a number that is nearer to zero")
    assert messages[3] == ""
    assert page.evaluate("document.activeElement.name") == "sepal_length"
    assert page.locator("[aria-invalid=true]").count() == 3
    assert page.is_hidden("#result")
    for name in ("sepal_length", "sepal_width", "petal_length"):
        page.fill(f"[name={name}]", "3")
    page.click("text=Predict and explain")
    page.wait_for_selector("#result:visible")
    assert page.locator("[aria-invalid=true], .error:visible").count() == 0


def test_the_page_can_be_read_without_javascript_on_a_phone_and_in_the_dark(service: Service, browser: Browser) -> None:
    plain = browser.new_context(java_script_enabled=False, color_scheme="dark", viewport=PHONE)  # type: ignore[arg-type]
    page = plain.new_page()
    page.goto(address(service))
    assert page.is_visible("text=Live quality")
    assert page.is_visible("text=Last promotions")
    assert page.is_visible("#needs-script")
    assert page.is_hidden("#record")
    plain.close()
    phone = browser.new_context(color_scheme="dark", viewport=PHONE)  # type: ignore[arg-type]
    page = phone.new_page()
    page.goto(address(service))
    page.click("text=Predict and explain")
    page.wait_for_selector("#contributions table")
    assert page.is_hidden("#needs-script")
    assert page.evaluate(WIDTH), "nothing is wider than the screen"
    colours = "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).colorScheme]"
    assert page.evaluate(colours) == ["rgb(255, 255, 255)", "light dark"]
    phone.close()


def test_the_documentation_shows_every_route_and_executes_the_example(service: Service, page: Page) -> None:
    page.goto(address(service, "/docs"))
    page.wait_for_selector(".opblock")
    shown = page.locator(".opblock-summary-path").all_text_contents()
    # Swagger UI inserts a zero-width space before each slash.
    assert {text.replace("\u200b", "").strip() for text in shown} == set(service.get("/docs.json")["paths"])
    assert (service.get("/model")["name"]) in (page.text_content(".info .title") or "")
    assert "Predictions" in (page.locator(".opblock-tag").first.text_content() or "")
    page.click("#operations-Predictions-predict .opblock-summary-control")
    page.click("#operations-Predictions-predict .execute")
    page.wait_for_selector("#operations-Predictions-predict .live-responses-table .response-col_status")
    answer = page.text_content("#operations-Predictions-predict .live-responses-table") or ""
    assert "prediction_id" in answer
    assert "versicolor" in answer


def test_a_key_is_asked_for_once_in_a_tab(guarded: Service, page: Page) -> None:
    page.goto(address(guarded))
    assert "species" not in page.content()
    page.fill("#key", KEYS[0] + "0")
    page.click("button")
    assert "This key is not valid." in (page.text_content("#refused") or "")
    page.fill("#key", KEYS[0])
    page.click("button")
    page.click("text=Predict and explain")
    page.wait_for_selector("#contributions table")
    assert KEYS[0] not in page.content()
    page.reload()
    page.wait_for_selector("text=Live quality")
    page.click("text=API documentation")
    page.wait_for_selector(".opblock")
    page.click("#operations-Predictions-predict .opblock-summary-control")
    page.click("#operations-Predictions-predict .execute")
    page.wait_for_selector("text=prediction_id >> visible=true")
    assert KEYS[0] not in page.url
