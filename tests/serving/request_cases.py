"""Request bodies that are no record, and the reply to each."""

from __future__ import annotations

import json
import re
import socket
from http.client import HTTPResponse
from typing import Any

import pytest

from tests.serving.running import RECORD, Service

RECORD_PATHS = ("/predict", "/explain")
PREDICTION_PATHS = (*RECORD_PATHS, "/predict_batch")
FEEDBACK_PATHS = ("/feedback", "/feedback_batch", "/feedback/links")
JSON_PATHS = (*PREDICTION_PATHS, *FEEDBACK_PATHS)

RECORD_BODY = json.dumps(RECORD).encode()
LARGE_BODY = RECORD_BODY[:-1] + b" " * 10 * 2**20 + b"}"
FORM = "application/x-www-form-urlencoded"
PICKLE = "application/vnd.bentoml+pickle"
WRONG_MEDIA_TYPES = ["text/plain", FORM, "multipart/form-data; boundary=x", "text/json", PICKLE]
# Text that would disclose internals.
INTERNALS = re.compile(
    r'Traceback|File "|\.py\b|site-packages|/home|/tmp|/usr|/work|\b(?:serving|ratchet|pydantic|_?bentoml|starlette'
    r"|uvicorn|httptools|sqlalchemy|onnxruntime|sklearn|numpy|asyncio)[._]\w"
)


def with_length(value: str) -> bytes:
    """A record whose first value is this piece of JSON."""
    return f'{{"sepal_length": {value}, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}}'.encode()


# A body that is no valid record, and the field that the reply names; the tests of the reader have all cases.
WRONG_RECORDS: dict[str, tuple[bytes, str]] = {
    **{value: (with_length(value), "sepal_length") for value in ("NaN", "3e38", '"5,1"', "null")},
    "a missing field": (json.dumps({k: v for k, v in RECORD.items() if k != "petal_width"}).encode(), "petal_width"),
    "an extra field": (json.dumps({**RECORD, "colour": "blue"}).encode(), "colour"),
    "a repeated field": (RECORD_BODY[:-1] + b', "petal\\u005fwidth": 0.2}', "petal_width"),
}
# A body that is no JSON object.
WRONG_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "a list": b"[" + RECORD_BODY + b"]",
    "half a record": RECORD_BODY[: len(RECORD_BODY) // 2],
    "a form": b"sepal_length=5.1&sepal_width=3.5",
    "invalid UTF-8": RECORD_BODY.replace(b"sepal_length", b"sepal\xff\xfelength"),
    "half a surrogate": RECORD_BODY.replace(b"sepal_length", b"\\ud800"),
    "100,000 nested lists": b"[" * 100_000 + b"]" * 100_000,
    "an integer of 5,000 digits": with_length("9" * 5000),
}


def by_name(cases: dict[str, Any]) -> list[Any]:
    """Cases as parameters of a test."""
    return [pytest.param(case, id=name) for name, case in cases.items()]


def as_row(body: bytes) -> bytes:
    """A record's body as the second row of a batch."""
    return b'{"rows": [' + RECORD_BODY + b", " + body + b"]}"


def discloses_internals(body: bytes) -> bool:
    return bool(INTERNALS.search(body.decode()))


def refused(service: Service, path: str, body: bytes, media_type: str = "application/json") -> tuple[int, list[str]]:
    """The status and the named fields of an error reply, whose form is checked; the service still answers after it."""
    status, headers, content = service.request("POST", path, body, content_type=media_type)
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    assert not discloses_internals(content), content
    assert len(content) < 5000
    reply = json.loads(content)
    assert reply["error"]
    assert service.post("/predict", RECORD)[0] == 200
    return status, [detail["field"] for detail in reply.get("details", ())]


def head(path: str, *lines: str) -> bytes:
    """The head of a POST request."""
    media_type = FORM if path == "/feedback/form" else "application/json"
    lines = (f"POST {path} HTTP/1.1", "host: localhost", f"content-type: {media_type}", *lines)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def raw(service: Service, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """The reply to bytes on a connection; the service may close it before it has read all of them."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except ConnectionError:
            pass
        response = HTTPResponse(connection)
        response.begin()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def raw_large(service: Service, path: str) -> tuple[int, dict[str, str], bytes]:
    """The reply to a body of ten megabytes."""
    return raw(service, head(path, f"content-length: {len(LARGE_BODY)}"), LARGE_BODY)
