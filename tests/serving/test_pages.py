"""The pages of the service: model, health, probes, and the documentation."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tests.serving.request_cases import discloses_internals
from tests.serving.running import RECORD, Service


def test_model_returns_signature_version_and_lineage(service: Service) -> None:
    found = service.get("/model")
    assert (found["version"], found["engine"]) == ("1", "onnx")
    assert [field["name"] for field in found["signature"]["features"]] == list(RECORD)
    assert found["signature"]["labels"] == ["setosa", "versicolor", "virginica"]
    assert found["lineage"]["package_digest"] == found["digest"]
    assert found["mlflow_run_id"]
    assert {"metrics", "libraries"} <= set(found)


def test_health_returns_status_version_workers_and_latency(service: Service) -> None:
    service.post("/predict", RECORD)
    service.until(lambda: service.get("/health")["latency_ms"]["requests"] > 0)
    found = service.healthy()
    assert (found["status"], found["version"], found["store"]) == ("ok", "1", "up")
    assert found["model"] == service.get("/model")["name"]
    assert {worker["version"] for worker in found["workers"]} == {"1"}
    assert len({worker["pid"] for worker in found["workers"]}) == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", found["since"])
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p95"] <= found["latency_ms"]["p99"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_probes_answer(service: Service, path: str) -> None:
    status, headers, body = service.request("GET", path)
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert not discloses_internals(body)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/docs", "text/html; charset=utf-8"),
        ("/", "text/html; charset=utf-8"),
        ("/favicon.ico", "image/x-icon"),
        ("/favicon.svg", "image/svg+xml"),
        ("/docs.json", "application/json"),
        ("/schema.json", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/model", "application/json"),
        ("/health", "application/json"),
    ],
)
def test_each_page_has_its_media_type(service: Service, path: str, media_type: str) -> None:
    status, headers, body = service.request("GET", path)
    assert (status, headers["content-type"]) == (200, media_type)
    assert body
    assert service.request("HEAD", path)[::2] == (200, b"")


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


def test_the_documentation_loads_everything_from_the_service(service: Service) -> None:
    page = Assets(service.request("GET", "/docs")[2].decode())
    assert page.inline == [], "the policy of the page allows no inline scripts"
    kinds = {"css": "text/css", "js": "javascript", "svg": "image/svg+xml"}
    assert {address.rpartition(".")[2] for _, address in page.found} == set(kinds)
    for _, address in page.found:
        assert re.fullmatch(r"(static_content/)?[\w-]+\.\w+", address), "relative, so that it works behind a prefix"
        status, headers, body = service.request("GET", f"/{address}")
        assert (status, kinds[address.rpartition(".")[2]] in headers["content-type"]) == (200, True)
        assert body


def test_the_documentation_shows_the_document_of_the_service(service: Service) -> None:
    script = service.request("GET", "/docs.js")[2].decode()
    [address] = re.findall(r'url:\s*"([^"]+)"', script)
    status, headers, _ = service.request("GET", "/" + address.removeprefix("./").removeprefix("/"))
    assert (address.endswith("docs.json"), status, headers["content-type"]) == (True, 200, "application/json")
