"""API keys, CORS and security headers of the running service."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from serving.responses import DENY_ALL_POLICY, SECURITY_HEADERS
from tests.serving.bentoml_clients import use_clients_of_bentoml
from tests.serving.conftest import ALLOWED, KEYS, SECRET
from tests.serving.request_cases import FORM, JSON_PATHS, RECORD_BODY
from tests.serving.running import RECORD, Service

KEY = {"x_api_key": KEYS[0]}
FOREIGN = "https://evil.example.com"
PREFLIGHT = {"access_control_request_method": "POST", "access_control_request_headers": "content-type,x-api-key"}
PROBES = ("/livez", "/readyz", "/healthz")
PAGES = ("/model", "/health", "/metrics", "/docs.json", "/schema.json")
BROWSER_PAGES = ("/", "/docs")
FILES = ("/favicon.ico", "/favicon.svg", "/landing.js", "/key.js", "/docs.js", "/static_content/swagger-ui.css")
REQUESTS = [
    *(("POST", path) for path in (*JSON_PATHS, "/feedback/form/")),
    *(("GET", path) for path in (*PAGES, "/predict", "/feedback", "/feedback/form/", "/nothing")),
    ("PUT", "/predict"),
    ("OPTIONS", "/predict"),
    # A key in the query is not accepted.
    ("POST", f"/predict?api_key={KEYS[0]}&x-api-key={KEYS[0]}"),
    # Spellings that a comparison of paths could miss.
    *(("POST", path) for path in ("/predict/", "//predict", "/%70redict", "/livez/../predict", "/predict?x=/livez")),
    *(("GET", path) for path in ("/livez/", "/livez/../model", "/LIVEZ", "/model?x=/livez", "/livez%2f..%2fmodel")),
]


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_without_a_key_a_request_is_refused(guarded: Service, method: str, path: str) -> None:
    status, headers, body = guarded.request(method, path, RECORD_BODY if method == "POST" else None)
    assert status == 401
    assert headers["www-authenticate"] == 'Bearer realm="ratchet"'
    assert json.loads(body) == {"error": "an API key is needed: send X-API-Key, or Authorization: Bearer"}
    assert has_security_headers(headers)


@pytest.mark.parametrize("path", BROWSER_PAGES)
def test_without_a_key_a_page_asks_for_one_and_shows_nothing(guarded: Service, path: str) -> None:
    model = guarded.get("/model", **KEY)["name"]
    asks = guarded.request("GET", path)
    refused = guarded.request("POST", path, b"key=first-key-9f2c71ab05", content_type=FORM)
    for status, headers, body in (asks, refused):
        page = body.decode()
        assert (status, headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert has_security_headers(headers)
        assert 'type="password"' in page
        assert not [shown for shown in (model, "species", "sepal_length", "setosa") if shown in page]
    assert "not valid" in refused[2].decode()
    assert "not valid" not in asks[2].decode()


@pytest.mark.parametrize("path", BROWSER_PAGES)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_opens_a_page_from_a_form_or_a_header_and_is_not_part_of_it(
    guarded: Service, path: str, key: str
) -> None:
    model = guarded.get("/model", **KEY)["name"]
    by_form = guarded.request("POST", path, f"key={key}".encode(), content_type=FORM)
    for status, headers, body in (by_form, guarded.request("GET", path, x_api_key=key)):
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert model in body.decode()
        assert key not in f"{body.decode()} {headers}"
    assert key not in guarded.output.read_text()
    assert guarded.request("GET", f"{path}?key={key}")[0] == 401


def test_a_form_with_a_key_is_limited(guarded: Service) -> None:
    for body, expected in (
        (b"key=" + b"x" * 5000, 413),
        (b"&".join([b"a=1"] * 20), 422),
        (b"", 401),
        (b"key=%ff", 401),
    ):
        assert guarded.request("POST", "/", body, content_type=FORM)[0] == expected
    assert guarded.request("POST", "/", b"{}", content_type="application/json")[0] == 415


@pytest.mark.parametrize("path", FILES)
def test_the_files_of_the_pages_need_no_key_and_disclose_nothing(guarded: Service, path: str) -> None:
    status, _, body = guarded.request("GET", path)
    assert status == 200
    assert guarded.get("/model", **KEY)["name"].encode() not in body


@pytest.mark.parametrize("path", PROBES)
def test_probes_need_no_key_and_have_no_body(guarded: Service, path: str) -> None:
    status, _, body = guarded.request("GET", path)
    assert (status, body.strip()) == (200, b"")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("scheme", ["x_api_key", "Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_each_key_is_accepted_in_either_header(guarded: Service, key: str, scheme: str, path: str) -> None:
    header = {scheme: key} if scheme == "x_api_key" else {"authorization": f"{scheme} {key}"}
    status, answer = guarded.post(path, RECORD, **header)
    assert (status, answer["prediction"]) == (200, "setosa")
    assert guarded.get("/model", **header)["version"] == "1"


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # from an import of the client
def test_the_clients_of_bentoml_send_a_key(guarded: Service) -> None:
    for key in KEYS:
        use_clients_of_bentoml(guarded, token=key)


def test_a_link_gives_access_to_its_form_only(guarded: Service) -> None:
    one = guarded.post("/predict", RECORD, **KEY)[1]["prediction_id"]
    link = guarded.post("/feedback/links", {"prediction_id": one}, **KEY)[1]["url"]
    status, headers, _ = guarded.request("GET", link)
    assert (status, has_security_headers(headers)) == (200, True)
    form = f"{link.partition('?')[2]}&target=setosa".encode()
    assert guarded.request("POST", "/feedback/form", form, content_type=FORM)[0] == 200
    assert guarded.request("GET", "/feedback/form")[0] == 403
    token = link.partition("=")[2]
    for header in ({"x_api_key": token}, {"authorization": f"Bearer {token}"}):
        assert guarded.request("GET", "/model", **header)[0] == 401
    assert SECRET not in guarded.output.read_text()
    assert token not in guarded.output.read_text()


@pytest.mark.parametrize(
    "header",
    [
        {"x_api_key": "wrong-key-9f2c71ab04"},
        {"x_api_key": KEYS[0] + "0"},
        {"x_api_key": ""},
        {"x_api_key": "\xff\xfe"},
        {"x_api_key": "0" * 10_000},
        {"authorization": f"Basic {KEYS[0]}"},
        {"authorization": f"Bearer{KEYS[0]}"},
    ],
)
def test_the_reply_to_a_wrong_key_is_the_reply_to_no_key(guarded: Service, header: dict[str, str]) -> None:
    for method, path in (("POST", "/predict"), ("GET", "/model")):
        wrong = guarded.request(method, path, RECORD_BODY, **header)
        without = guarded.request(method, path, RECORD_BODY)
        assert wrong[0] == 401
        assert wrong[2] == without[2]
        assert {**wrong[1], "date": ""} == {**without[1], "date": ""}


def test_the_key_is_checked_before_the_body(guarded: Service) -> None:
    for body, media_type in ((b"{}", "application/json"), (b"x", "text/plain"), (b" " * 5 * 2**20, "application/json")):
        for path in ("/predict", "/explain"):
            try:
                assert guarded.request("POST", path, body, content_type=media_type)[0] == 401
            except ConnectionError:
                assert len(body) > 2**20  # the reply came, and the connection was closed, before all of it was sent


def test_requests_without_a_key_are_counted(guarded: Service) -> None:
    def refusals() -> float:
        lines = guarded.request("GET", "/metrics", **KEY)[2].decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith('ratchet_errors_total{kind="key"'))

    before = refusals()
    for method, path in (("POST", "/predict"), ("POST", "/explain"), ("GET", "/model")):
        guarded.request(method, path, RECORD_BODY)
    assert refusals() == before + 3


def test_the_log_names_the_client_of_a_refused_request_behind_a_trusted_proxy(
    guarded: Service,
) -> None:
    for path, client in (("/predict", "192.0.2.7"), ("/explain", "192.0.2.8")):

        def is_logged(path: str = path, client: str = client) -> bool:
            guarded.request("POST", path, RECORD_BODY, x_forwarded_for=client)
            return f'"client": "{client}"' in guarded.output.read_text()

        guarded.until(is_logged)


def test_no_log_and_no_command_line_contains_a_key(guarded: Service) -> None:
    guarded.post("/predict", {**RECORD, "colour": 1}, **KEY)
    lines = [guarded.output.read_text()]
    lines += [path.read_text() for pid in family(guarded.process.pid) for path in [Path(f"/proc/{pid}/cmdline")]]
    assert not [line for line in lines if any(key in line for key in KEYS)]


def test_the_openapi_document_names_the_routes_without_a_key(guarded: Service) -> None:
    document = guarded.get("/docs.json", **KEY)
    assert document["security"] == [{"key": []}, {"bearer": []}]
    assert document["components"]["securitySchemes"]["key"]["name"] == "X-API-Key"
    paths = document["paths"]
    without = {path for path in paths for operation in paths[path].values() if operation.get("security") == []}
    assert without == {"/livez", "/readyz", "/feedback/form"}


def has_security_headers(headers: dict[str, str]) -> bool:
    expected = {name.decode(): value.decode() for name, value in SECURITY_HEADERS}
    policy = headers.get("content-security-policy", "")
    return expected.items() <= headers.items() and "frame-ancestors 'none'" in policy and "server" not in headers


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/predict", RECORD_BODY, 200),
        ("POST", "/predict", b"{}", 422),
        ("POST", "/predict_batch", b'{"rows": []}', 422),
        ("POST", "/explain", RECORD_BODY, 200),
        ("POST", "/feedback", b"{}", 422),
        ("POST", "/feedback_batch", b'{"feedback": [1]}', 200),
        *(("GET", path, None, 405) for path in ("/feedback/links", "/predict", "/explain")),
        *(("GET", path, None, 404) for path in ("/nothing", "/static_content/nothing")),
        *(("GET", path, None, 200) for path in (*PAGES, *BROWSER_PAGES, *FILES, *PROBES)),
        ("OPTIONS", "/predict", None, 405),
    ],
)
def test_every_reply_carries_the_security_headers(
    service: Service, method: str, path: str, body: bytes | None, status: int
) -> None:
    found, headers, _ = service.request(method, path, body)
    assert found == status
    assert has_security_headers(headers), headers
    assert headers["content-security-policy"] == DENY_ALL_POLICY[1].decode() or path in BROWSER_PAGES


@pytest.mark.parametrize("path", ["/predict", "/explain", "/model"])
def test_no_origin_is_allowed_by_default(service: Service, path: str) -> None:
    for method, more in (("OPTIONS", PREFLIGHT), ("POST", {}), ("GET", {})):
        _, headers, _ = service.request(method, path, RECORD_BODY if method == "POST" else None, origin=ALLOWED, **more)
        assert not [name for name in headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/predict", "/explain", "/model"])
def test_a_configured_origin_is_allowed(guarded: Service, path: str) -> None:
    status, headers, _ = guarded.request("OPTIONS", path, origin=ALLOWED, **PREFLIGHT)
    assert (status, headers["access-control-allow-origin"]) == (200, ALLOWED)
    assert "x-api-key" in headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in headers
    assert has_security_headers(headers)
    method = "GET" if path == "/model" else "POST"
    for key, expected in ((KEY, 200), ({}, 401)):
        status, headers, _ = guarded.request(method, path, RECORD_BODY, origin=ALLOWED, **key)
        assert (status, headers["access-control-allow-origin"]) == (expected, ALLOWED)
        assert has_security_headers(headers)


@pytest.mark.parametrize("origin", [FOREIGN, "null", f"{ALLOWED}.evil.example.com", "http://app.example.com"])
def test_another_origin_is_not_allowed(guarded: Service, origin: str) -> None:
    status, headers, _ = guarded.request("OPTIONS", "/predict", origin=origin, **PREFLIGHT)
    assert status == 400
    assert has_security_headers(headers)
    assert "access-control-allow-origin" not in headers
    _, headers, _ = guarded.request("POST", "/predict", RECORD_BODY, origin=origin, **KEY)
    assert "access-control-allow-origin" not in headers


def test_the_service_listens_on_loopback_by_default(service: Service) -> None:
    assert listening(family(service.process.pid)) == {("127.0.0.1", service.port)}


def family(pid: int) -> set[int]:
    """A process and all its descendants."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return {pid}.union(*map(family, children))


def listening(pids: set[int]) -> set[tuple[str, int]]:
    """The addresses at which processes accept TCP connections."""
    sockets = {str(link.readlink()) for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    found = set()
    for table, kind in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                address, port = local.split(":")
                words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
                found.add((socket.inet_ntop(kind, b"".join(words)), int(port, 16)))
    return found
