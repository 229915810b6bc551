"""Requests that the service refuses, and the form of the error replies."""

from __future__ import annotations

import gzip
import json
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ratchet.settings import Settings
from tests.conftest import ROOT
from tests.serving.request_cases import (
    FORM,
    JSON_PATHS,
    LARGE_BODY,
    PICKLE,
    PREDICTION_PATHS,
    RECORD_BODY,
    RECORD_PATHS,
    WRONG_BODIES,
    WRONG_MEDIA_TYPES,
    WRONG_RECORDS,
    as_row,
    by_name,
    discloses_internals,
    head,
    raw,
    raw_large,
    refused,
)
from tests.serving.running import RECORD, Service, serving

PAGES = ("/model", "/health", "/metrics", "/docs", "/docs.json")
ROWS_BODY = json.dumps({"rows": [RECORD]}).encode()


@pytest.fixture(scope="module", autouse=True)
def logged_before(service: Service) -> int:
    """The length of the service's log before the tests of this module; other modules use the service too."""
    return len(service.output.read_text())


@pytest.mark.parametrize("path", RECORD_PATHS)
@pytest.mark.parametrize("case", by_name(WRONG_RECORDS))
def test_the_reply_to_a_wrong_record_names_the_field(service: Service, path: str, case: tuple[bytes, str]) -> None:
    body, field = case
    assert refused(service, path, body) == (422, [field])


@pytest.mark.parametrize("case", by_name(WRONG_RECORDS))
def test_the_reply_to_a_wrong_row_names_row_and_field(service: Service, case: tuple[bytes, str]) -> None:
    body, field = case
    assert refused(service, "/predict_batch", as_row(body)) == (422, [f"rows[1].{field}"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "rows"),
        (b'{"rows": null}', "rows"),
        (b'{"rows": {}}', "rows"),
        (b'{"rows": [5.1]}', "rows[0]"),
        (ROWS_BODY[:-1] + b', "more": 1}', "more"),
        (ROWS_BODY[:-1] + b', "rows": []}', "rows"),
    ],
)
def test_the_reply_to_a_wrong_batch_names_the_field(service: Service, body: bytes, field: str) -> None:
    assert refused(service, "/predict_batch", body) == (422, [field])


@pytest.mark.parametrize("path", JSON_PATHS)
@pytest.mark.parametrize("body", by_name(WRONG_BODIES))
def test_a_body_that_is_no_object_is_refused(service: Service, path: str, body: bytes) -> None:
    status, fields = refused(service, path, body)
    assert status == 422
    assert fields
    assert set(fields) <= {"body", "\\ud800", *RECORD, "rows", "feedback", "prediction_id"}


def test_the_reply_names_every_wrong_field(service: Service) -> None:
    body = b'{"sepal_length": "x", "sepal_width": NaN, "petal_length": 1.4, "colour": 1}'
    assert refused(service, "/predict", body)[1] == ["sepal_length", "sepal_width", "petal_width", "colour"]


def test_the_reply_to_a_large_wrong_body_is_short(service: Service) -> None:
    status, fields = refused(service, "/predict_batch", json.dumps({"rows": [{}] * 1000}).encode())
    assert (status, len(fields)) == (422, 20)
    assert refused(service, "/predict", json.dumps({**RECORD, "x" * 2**20: 1}).encode())[0] == 422


@pytest.mark.parametrize("path", JSON_PATHS)
@pytest.mark.parametrize("media_type", WRONG_MEDIA_TYPES)
def test_another_media_type_is_refused(service: Service, path: str, media_type: str) -> None:
    assert refused(service, path, RECORD_BODY, media_type) == (415, [])


class FileCreator:
    """An object that creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("path", PREDICTION_PATHS)
@pytest.mark.parametrize("media_type", [PICKLE, "application/json"])
def test_a_pickle_is_never_loaded(service: Service, path: str, media_type: str, tmp_path: Path) -> None:
    body = pickle.dumps(FileCreator(tmp_path / "created"))
    assert refused(service, path, body, media_type)[0] == (415 if media_type == PICKLE else 422)
    headers = {"content_type": media_type, "Payload_Container": "pickle", "Buffer_Lengths": "1"}
    assert 400 <= service.request("POST", path, body, **headers)[0] < 500
    assert not (tmp_path / "created").exists()


@pytest.mark.parametrize("path", [*JSON_PATHS, "/feedback/form"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_ten_megabytes_is_refused(service: Service, path: str, chunked: bool) -> None:
    if chunked:
        parts = [LARGE_BODY[at : at + 2**16] for at in range(0, len(LARGE_BODY), 2**16)]
        chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
        status, headers, body = raw(service, head(path, "transfer-encoding: chunked"), *chunks, b"0\r\n\r\n")
    else:
        status, headers, body = raw_large(service, path)
    assert (status, headers["connection"]) == (413, "close")
    assert b"RATCHET_MAX_BODY_BYTES" in body
    assert service.post("/predict", RECORD)[0] == 200


def test_a_client_that_disconnects_within_its_body_is_counted(service: Service) -> None:
    before = service.metric("ratchet_errors_total", kind="client_left")
    for path in PREDICTION_PATHS:
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
            connection.sendall(head(path, "content-length: 80") + RECORD_BODY[:10])
    service.until(lambda: service.metric("ratchet_errors_total", kind="client_left") == before + 3)
    assert service.post("/predict", RECORD)[0] == 200


@pytest.mark.parametrize("path", [*JSON_PATHS, "/feedback/form"])
@pytest.mark.parametrize("coding", ["gzip", "GZIP", "deflate", "br", "zstd", "gzip, identity", "x-unknown"])
def test_a_compressed_body_is_refused_with_the_coding_that_is_accepted(
    service: Service, path: str, coding: str
) -> None:
    media_type = FORM if path == "/feedback/form" else "application/json"
    body = gzip.compress(RECORD_BODY)
    status, headers, content = service.request("POST", path, body, content_type=media_type, content_encoding=coding)
    assert (status, headers["accept-encoding"]) == (415, "identity")
    assert f"ontent-encoding: expected identity, got {coding}" in content.decode()


def test_the_identity_coding_is_accepted(service: Service) -> None:
    for coding in ("identity", " Identity ", ""):
        assert service.post("/predict", RECORD, content_encoding=coding)[0] == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("path", ["/nothing", "/predict/1", "/static_content/../../etc/passwd", "//%0d%0a/", "/docs/x"])
def test_an_unknown_path_is_not_found(service: Service, method: str, path: str) -> None:
    status, headers, body = service.request(method, path)
    if status == 405 and "static_content" in path:
        assert headers["allow"] == "GET, HEAD"
    else:
        assert json.loads(body) == {"error": "there is no such path; GET /docs lists the paths"}
        assert status == 404
    assert headers["content-type"] == "application/json"
    assert not discloses_internals(body)


@pytest.mark.parametrize("path", [*JSON_PATHS, *PAGES, "/schema.json", "/livez", "/readyz", "/feedback/form"])
@pytest.mark.parametrize("spelling", ["{}/", "/{}", "//{}//", "{}//"])
def test_a_path_with_a_slash_too_many_is_not_redirected(service: Service, path: str, spelling: str) -> None:
    for method in ("GET", "POST"):
        status, headers, body = service.request(method, spelling.format(path), host="evil.example.com")
        assert (status, json.loads(body)) == (404, {"error": f"there is no such path; use {path}"})
        assert "location" not in headers


@pytest.mark.parametrize(
    "path", [*JSON_PATHS, *PAGES, "/", "//", "/livez", "/feedback/form", "/nothing", "/docs/", "/static_content"]
)
def test_no_reply_repeats_what_the_client_says_of_its_host(service: Service, path: str) -> None:
    evil = {"host": "evil.example.com", "x_forwarded_host": "evil.example.com", "forwarded": "host=evil.example.com"}
    for method in ("GET", "POST", "HEAD", "OPTIONS"):
        body = RECORD_BODY if method == "POST" else None
        status, headers, content = service.request(method, path, body, x_forwarded_proto="gopher", **evil)
        for told in ("evil", "gopher"):
            assert told not in f"{headers} {content.decode()}"
        assert "location" not in headers
        assert status < 500


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, path) for path in JSON_PATHS for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH")),
        *((method, path) for path in PAGES for method in ("OPTIONS", "PUT")),
        *(("POST", path) for path in PAGES if path != "/docs"),
        *((method, "/") for method in ("OPTIONS", "PUT")),
    ],
)
def test_another_method_is_not_allowed_and_is_counted(service: Service, method: str, path: str) -> None:
    before = service.metric("ratchet_requests_total", route=path, status="405")
    status, headers, body = service.request(method, path)
    allowed = "POST" if path in JSON_PATHS else "GET, HEAD, POST" if path in ("/", "/docs") else "GET, HEAD"
    assert (status, headers["allow"], headers["content-type"]) == (405, allowed, "application/json")
    assert method == "HEAD" or json.loads(body) == {"error": f"this path takes the methods {allowed}"}
    service.until(lambda: service.metric("ratchet_requests_total", route=path, status="405") > before)


@pytest.mark.parametrize("path", [*PAGES, "/schema.json", "/livez", "/readyz", "/healthz", "/nothing"])
def test_a_head_request_has_the_status_of_a_get_request_and_no_body(service: Service, path: str) -> None:
    get, head_ = service.request("GET", path), service.request("HEAD", path)
    assert head_[0] == get[0]
    assert head_[1]["content-type"] == get[1]["content-type"]
    assert head_[2] == b""


def test_bytes_that_are_no_http_are_refused(service: Service) -> None:
    status, _, body = raw(service, b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    assert status == 400
    assert not discloses_internals(body)
    assert service.post("/predict", RECORD)[0] == 200


@pytest.fixture(scope="module")
def limited(service: Service, served_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of the same model with small limits."""
    limits = {"RATCHET_REQUEST_TIMEOUT": "1", "RATCHET_MAX_BODY_BYTES": "1024", "RATCHET_MAX_BATCH_ROWS": "3"}
    output = tmp_path_factory.mktemp("limited") / "output"
    home = tmp_path_factory.mktemp("limited-home")
    settings = Settings(home=home, models_dir=served_settings.models_dir, mlflow_uri=served_settings.tracking_uri)
    with serving(settings, service.get("/model")["name"], output, **limits) as running:
        yield running


@pytest.mark.parametrize("path", PREDICTION_PATHS)
@pytest.mark.parametrize("sent", [b"", RECORD_BODY[:10]])
def test_a_body_that_does_not_arrive_in_time_is_refused(limited: Service, path: str, sent: bytes) -> None:
    status, headers, body = raw(limited, head(path, f"content-length: {len(RECORD_BODY)}"), sent)
    assert (status, headers["connection"]) == (408, "close")
    assert "did not arrive within 1 s" in json.loads(body)["error"]
    assert limited.post("/predict", RECORD)[0] == 200


def test_the_settings_set_the_limits(limited: Service) -> None:
    assert refused(limited, "/predict", RECORD_BODY + b" " * 1024) == (413, [])
    assert limited.post("/predict_batch", {"rows": [RECORD] * 3})[0] == 200
    assert refused(limited, "/predict_batch", json.dumps({"rows": [RECORD] * 4}).encode()) == (422, ["rows"])
    assert limited.get("/schema.json")["routes"]


def test_invalid_requests_log_no_failure(service: Service, logged_before: int) -> None:
    output = service.output.read_text()[logged_before:]
    assert "Traceback" not in output
    assert '"level": "error"' not in output
    assert service.metric("ratchet_errors_total", kind="internal") == 0
    assert str(ROOT) not in service.request("GET", "/docs.json")[2].decode()
