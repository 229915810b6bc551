"""The documentation's page: everything that it needs comes from the service, and a browser shows the routes."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.serving.running import Service

CHROMIUM = Path("/usr/bin/chromium")


class Assets(HTMLParser):
    """What a page loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.inline: list[str] = []
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.found += [(tag, value) for name, value in attrs if name in ("src", "href") and value]

    def handle_data(self, data: str) -> None:
        if self._tag == "script" and data.strip():
            self.inline.append(data)


def test_all_that_the_page_names_comes_from_the_service(service: Service) -> None:
    page = Assets(service.ask("GET", "/docs")[2].decode())
    assert page.inline == [], "the page's policy allows no scripts of its own"
    kinds = {"link": "text/css", "script": "javascript"}
    assert {tag for tag, _ in page.found} == set(kinds)
    for tag, address in page.found:
        assert re.fullmatch(r"static_content/[\w.-]+", address), "relative, so that it works behind a prefix"
        status, headers, body = service.ask("GET", f"/{address}")
        assert (status, kinds[tag] in headers["content-type"]) == (200, True)
        assert body


def test_the_page_reads_the_services_own_document(service: Service) -> None:
    script = service.ask("GET", "/static_content/swagger-initializer.js")[2].decode()
    [address] = re.findall(r'url:\s*"([^"]+)"', script)
    status, headers, _ = service.ask("GET", "/" + address.removeprefix("./").removeprefix("/"))
    assert (address.endswith("docs.json"), status, headers["content-type"]) == (True, 200, "application/json")


@pytest.mark.slow
def test_a_browser_shows_every_route_and_complains_of_nothing(service: Service) -> None:
    from playwright.sync_api import sync_playwright

    complaints: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None
        )
        page.goto(f"http://127.0.0.1:{service.port}/docs")
        page.wait_for_selector(".opblock")
        shown = page.locator(".opblock-summary-path").all_text_contents()
        browser.close()
    # Swagger UI puts a place to break before each slash.
    assert {text.replace("\u200b", "").strip() for text in shown} == set(service.get("/docs.json")["paths"])
    assert complaints == []
