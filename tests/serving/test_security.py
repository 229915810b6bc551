"""Who may ask, from where, and what no reply is without; and what the command refuses to start with."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet.settings import Settings
from serving.replies import CLOSED_POLICY, SECURITY
from tests.conftest import Cli
from tests.fitted import Trained
from tests.serving.conftest import published
from tests.serving.running import RECORD, Service, environment, serving

KEYS = ("first-key-0123456789", "second-key-0123456789")
SECRET = "link-secret-0123456789"
ALLOWED, FOREIGN = "https://app.example.com", "https://evil.example.com"
PROBES = ("/livez", "/readyz", "/healthz")
BODY = json.dumps(RECORD).encode()
ROUTES = [
    *(("POST", path) for path in ("/predict", "/predict_batch", "/explain")),
    *(("POST", path) for path in ("/feedback", "/feedback_batch", "/feedback/links", "/feedback/form/")),
    *(
        ("GET", path)
        for path in (
            "/",
            "/model",
            "/health",
            "/metrics",
            "/docs",
            "/docs.json",
            "/schema.json",
            "/predict",
            "/feedback",
            "/feedback/form/",
            "/nothing",
        )
    ),
    ("GET", "/static_content/swagger-ui.css"),
    ("PUT", "/predict"),
    ("OPTIONS", "/predict"),
    # Spellings that could get past a comparison of paths.
    *(("POST", path) for path in ("/predict/", "//predict", "/%70redict", "/livez/../predict", "/predict?x=/livez")),
    *(("GET", path) for path in ("/livez/", "/livez/../model", "/LIVEZ", "/model?x=/livez", "/livez%2f..%2fmodel")),
]


@pytest.fixture(scope="module")
def guarded(
    served_settings: Settings, iris_models: tuple[Trained, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service in production with two keys and one origin."""
    pointer = published(served_settings, iris_models[0])
    output = tmp_path_factory.mktemp("guarded") / "output"
    variables = {"RATCHET_API_KEYS": ",".join(KEYS), "RATCHET_CORS_ORIGINS": ALLOWED, "RATCHET_LINK_SECRET": SECRET}
    with serving(served_settings, pointer.model, output, RATCHET_ENV="production", **variables) as running:
        yield running


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nothing_is_disclosed_without_a_key(guarded: Service, method: str, path: str) -> None:
    status, headers, body = guarded.ask(method, path, BODY if method == "POST" else None)
    assert status == 401
    assert headers["www-authenticate"] == 'Bearer realm="ratchet"'
    assert json.loads(body) == {"error": "an API key is needed: send X-API-Key, or Authorization: Bearer"}
    assert has_security_headers(headers)


@pytest.mark.parametrize("path", PROBES)
def test_probes_need_no_key_and_disclose_nothing(guarded: Service, path: str) -> None:
    status, _, body = guarded.ask("GET", path)
    assert (status, body.strip()) == (200, b"")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("scheme", ["x_api_key", "Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_each_key_opens_by_either_header(guarded: Service, key: str, scheme: str, path: str) -> None:
    header = {scheme: key} if scheme == "x_api_key" else {"authorization": f"{scheme} {key}"}
    status, answer = guarded.post(path, RECORD, **header)
    assert (status, answer["prediction"]) == (200, "setosa")
    assert guarded.get("/model", **header)["version"] == "1"


def test_a_link_is_a_key_to_its_page_and_to_nothing_else(guarded: Service) -> None:
    key = {"x_api_key": KEYS[0]}
    one = guarded.post("/predict", RECORD, **key)[1]["prediction_id"]
    link = guarded.post("/feedback/links", {"prediction_id": one}, **key)[1]["url"]
    status, headers, _ = guarded.ask("GET", link)
    assert (status, has_security_headers(headers)) == (200, True)
    form = f"{link.partition('?')[2]}&target=setosa".encode()
    assert guarded.ask("POST", "/feedback/form", form, content_type="application/x-www-form-urlencoded")[0] == 200
    assert guarded.ask("GET", "/feedback/form")[0] == 403
    token = link.partition("=")[2]
    for header in ({"x_api_key": token}, {"authorization": f"Bearer {token}"}):
        assert guarded.ask("GET", "/model", **header)[0] == 401
    assert SECRET not in guarded.output.read_text()
    assert token not in guarded.output.read_text()


WRONG = [
    {"x_api_key": "wrong-key-0123456789"},
    {"x_api_key": KEYS[0][:-1]},
    {"x_api_key": KEYS[0] + "0"},
    {"x_api_key": KEYS[0].upper()},
    {"x_api_key": ",".join(KEYS)},
    {"x_api_key": ""},
    {"x_api_key": "\xff\xfe"},
    {"x_api_key": "0" * 10_000},
    {"authorization": KEYS[0]},
    {"authorization": f"Basic {KEYS[0]}"},
    {"authorization": "Bearer "},
    {"authorization": f"Bearer{KEYS[0]}"},
    {"cookie": f"x-api-key={KEYS[0]}"},
]


@pytest.mark.parametrize("header", WRONG)
def test_a_wrong_key_is_refused_without_a_reason(guarded: Service, header: dict[str, str]) -> None:
    for method, path in (("POST", "/predict"), ("GET", "/model")):
        refusal = guarded.ask(method, path, BODY, **header)
        without = guarded.ask(method, path, BODY)
        assert refusal[0] == 401
        assert refusal[2] == without[2]
        assert {**refusal[1], "date": ""} == {**without[1], "date": ""}


def test_a_key_in_the_address_opens_nothing(guarded: Service) -> None:
    assert guarded.ask("POST", f"/predict?api_key={KEYS[0]}&x-api-key={KEYS[0]}", BODY)[0] == 401


def test_a_right_key_beside_a_wrong_one_opens(guarded: Service) -> None:
    assert guarded.post("/predict", RECORD, x_api_key="wrong", authorization=f"Bearer {KEYS[1]}")[0] == 200


def test_who_has_no_key_is_told_nothing_of_the_body(guarded: Service) -> None:
    for body, media_type in ((b"{}", "application/json"), (b"x", "text/plain"), (b" " * 5 * 2**20, "application/json")):
        for path in ("/predict", "/explain"):
            try:
                assert guarded.ask("POST", path, body, content_type=media_type)[0] == 401
            except ConnectionError:
                assert len(body) > 2**20  # it was answered and hung up on while it still sent


def test_refusals_are_counted_by_kind(guarded: Service) -> None:
    key = {"x_api_key": KEYS[0]}

    def refusals() -> float:
        lines = guarded.ask("GET", "/metrics", **key)[2].decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith('ratchet_errors_total{kind="key"'))

    before = refusals()
    for method, path in (("POST", "/predict"), ("POST", "/explain"), ("GET", "/model")):
        guarded.ask(method, path, BODY)
    assert refusals() == before + 3


def test_keys_are_in_no_log_and_in_no_command_line(guarded: Service) -> None:
    guarded.post("/predict", {**RECORD, "colour": 1}, x_api_key=KEYS[0])
    lines = [guarded.output.read_text()]
    lines += [path.read_text() for pid in family(guarded.process.pid) for path in [Path(f"/proc/{pid}/cmdline")]]
    assert not [line for line in lines if any(key in line for key in KEYS)]


def test_the_document_says_where_a_key_is_needed(guarded: Service) -> None:
    document = guarded.get("/docs.json", x_api_key=KEYS[0])
    assert document["security"] == [{"key": []}, {"bearer": []}]
    assert document["components"]["securitySchemes"]["key"]["name"] == "X-API-Key"
    paths = document["paths"]
    without = {path for path in paths for operation in paths[path].values() if operation.get("security") == []}
    assert without == {"/livez", "/readyz", "/feedback/form"}


def has_security_headers(headers: dict[str, str]) -> bool:
    wanted = {name.decode(): value.decode() for name, value in SECURITY}
    policy = headers.get("content-security-policy", "")
    return wanted.items() <= headers.items() and "frame-ancestors 'none'" in policy and "server" not in headers


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/predict", BODY, 200),
        ("POST", "/predict", b"{}", 422),
        ("POST", "/predict_batch", b'{"rows": []}', 422),
        ("POST", "/explain", BODY, 200),
        ("POST", "/feedback", b"{}", 422),
        ("POST", "/feedback_batch", b'{"feedback": [1]}', 200),
        ("GET", "/feedback/links", None, 405),
        ("GET", "/predict", None, 405),
        ("GET", "/explain", None, 405),
        ("GET", "/nothing", None, 404),
        ("GET", "/", None, 307),
        ("GET", "/docs", None, 200),
        ("GET", "/docs.json", None, 200),
        ("GET", "/schema.json", None, 200),
        ("GET", "/static_content/swagger-ui.css", None, 200),
        ("GET", "/static_content/nothing", None, 404),
        *(("GET", path, None, 200) for path in ("/health", "/metrics", "/model", *PROBES)),
        ("OPTIONS", "/predict", None, 405),
    ],
)
def test_every_reply_carries_the_security_headers(
    service: Service, method: str, path: str, body: bytes | None, status: int
) -> None:
    found, headers, _ = service.ask(method, path, body)
    assert found == status
    assert has_security_headers(headers), headers
    closed = CLOSED_POLICY[1].decode()
    assert headers["content-security-policy"] == closed or path == "/docs"


@pytest.mark.parametrize("media_type", ["text/plain", "application/vnd.bentoml+pickle"])
@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_a_refused_type_carries_the_security_headers(service: Service, path: str, media_type: str) -> None:
    status, headers, _ = service.ask("POST", path, BODY, content_type=media_type)
    assert (status, has_security_headers(headers)) == (415, True)


PREFLIGHT = {"access_control_request_method": "POST", "access_control_request_headers": "content-type,x-api-key"}


@pytest.mark.parametrize("path", ["/predict", "/explain", "/model"])
def test_other_origins_are_shut_out_by_default(service: Service, path: str) -> None:
    for method, more in (("OPTIONS", PREFLIGHT), ("POST", {}), ("GET", {})):
        _, headers, _ = service.ask(method, path, BODY if method == "POST" else None, origin=ALLOWED, **more)
        assert not [name for name in headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/predict", "/explain", "/model"])
def test_a_configured_origin_may_ask(guarded: Service, path: str) -> None:
    status, headers, _ = guarded.ask("OPTIONS", path, origin=ALLOWED, **PREFLIGHT)
    assert (status, headers["access-control-allow-origin"]) == (200, ALLOWED)
    assert "x-api-key" in headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in headers
    method = "GET" if path == "/model" else "POST"
    for key, expected in (({"x_api_key": KEYS[0]}, 200), ({}, 401)):
        status, headers, _ = guarded.ask(method, path, BODY, origin=ALLOWED, **key)
        assert (status, headers["access-control-allow-origin"]) == (expected, ALLOWED)
        assert has_security_headers(headers)


@pytest.mark.parametrize("origin", [FOREIGN, "null", f"{ALLOWED}.evil.example.com", "http://app.example.com"])
def test_an_origin_that_is_not_configured_may_not_ask(guarded: Service, origin: str) -> None:
    status, headers, _ = guarded.ask("OPTIONS", "/predict", origin=origin, **PREFLIGHT)
    assert status == 400
    assert "access-control-allow-origin" not in headers
    _, headers, _ = guarded.ask("POST", "/predict", BODY, origin=origin, x_api_key=KEYS[0])
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("origin", [ALLOWED, FOREIGN])
def test_the_answer_to_a_preflight_carries_the_security_headers(guarded: Service, origin: str) -> None:
    assert has_security_headers(guarded.ask("OPTIONS", "/predict", origin=origin, **PREFLIGHT)[1])


def test_it_listens_on_loopback_alone_by_default(service: Service) -> None:
    assert listening(family(service.process.pid)) == {("127.0.0.1", service.port)}


def family(pid: int) -> set[int]:
    """A process and all that it has started, and they in turn."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return {pid}.union(*map(family, children))


def listening(pids: set[int]) -> set[tuple[str, int]]:
    """The addresses on which processes take TCP connections."""
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


def refused_start(cli: Cli, settings: Settings, *words: str, **env: str) -> str:
    """What the command says when it refuses to serve: one line on standard error and status 2."""
    done = cli("serve", *words, **{**environment(settings), **env})
    assert done.returncode == 2, done.stderr
    # The model is looked up while the service starts, so that it may have said where it would be found.
    line, *more = [line for line in done.stderr.splitlines() if not line.startswith("serving on http://")]
    assert more == []
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("env", ["production", "staging"])
def test_a_service_that_is_not_local_does_not_start_without_keys(cli: Cli, served_settings: Settings, env: str) -> None:
    assert "RATCHET_API_KEYS" in refused_start(cli, served_settings, RATCHET_ENV=env)


@pytest.mark.parametrize("secret", [{}, {"RATCHET_LINK_SECRET": "hunter2"}])
def test_a_service_that_is_not_local_does_not_start_without_a_secret_for_links(
    cli: Cli, served_settings: Settings, secret: dict[str, str]
) -> None:
    keys = {"RATCHET_ENV": "production", "RATCHET_API_KEYS": KEYS[0]}
    line = refused_start(cli, served_settings, **keys, **secret)
    assert "RATCHET_LINK_SECRET" in line
    assert "hunter2" not in line


def test_bentoml_serve_answers_nobody_without_keys_where_it_is_not_local(
    served_settings: Settings, service: Service, output: Path
) -> None:
    model = service.get("/model")["name"]
    with serving(served_settings, model, output, ready=False, bentoml=True, RATCHET_ENV="production") as other:

        def refuses() -> bool:
            assert other.ask("POST", "/predict", BODY)[0] >= 500
            return True

        def has_ended() -> bool:
            return other.process.poll() not in (None, 0)

        other.until(lambda: has_ended() or refuses())
        other.until(lambda: "RATCHET_API_KEYS" in output.read_text())


def test_a_short_key_is_refused_and_not_repeated(cli: Cli, served_settings: Settings) -> None:
    line = refused_start(cli, served_settings, RATCHET_ENV="production", RATCHET_API_KEYS=f"{KEYS[0]},hunter2")
    assert "RATCHET_API_KEYS" in line
    assert "hunter2" not in line


def test_a_port_that_is_taken_is_said_in_one_line(cli: Cli, service: Service, served_settings: Settings) -> None:
    line = refused_start(cli, served_settings, "--port", str(service.port))
    assert f"cannot listen on 127.0.0.1 port {service.port}" in line
    assert "--port" in line
    assert service.post("/predict", RECORD)[0] == 200


def test_a_home_that_cannot_be_written_is_said_in_one_line(cli: Cli, served_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    elsewhere = served_settings.model_copy(update={"home": tmp_path / "file" / "home"})
    line = refused_start(cli, elsewhere, "--port", "0")
    assert "cannot write to" in line
    assert "set RATCHET_HOME" in line


def test_a_model_that_does_not_exist_is_said_in_one_line(cli: Cli, service: Service, served_settings: Settings) -> None:
    known = service.get("/model")["name"]
    line = refused_start(cli, served_settings, "--port", "0", "--model", known + "x")
    assert f"no model '{known}x'" in line
    assert known in line.split(";")[1]
