"""``bentoml serve``, which has no hot path, answers like ``run.py serve``, also for a Bento."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ratchet.registry.fetch_package import production_pointer
from ratchet.settings import Settings
from ratchet.store.database import open_store
from serving.responses import DENY_ALL_POLICY, SECURITY_HEADERS
from tests.conftest import ROOT
from tests.fitted import Trained
from tests.serving.bentoml_clients import use_clients_of_bentoml
from tests.serving.conftest import publish
from tests.serving.request_cases import (
    FEEDBACK_PATHS,
    FORM,
    JSON_PATHS,
    PREDICTION_PATHS,
    RECORD_BODY,
    RECORD_PATHS,
    WRONG_BODIES,
    WRONG_MEDIA_TYPES,
    WRONG_RECORDS,
    as_row,
    raw_large,
)
from tests.serving.running import RECORD, SERVICE, Service, serving
from tests.serving.stored_rows import stored

pytestmark = pytest.mark.slow

JSON = {"content_type": "application/json"}
REQUESTS: list[tuple[str, str, bytes | None, dict[str, str]]] = [
    *((method, path, None, {}) for path in JSON_PATHS for method in ("GET", "PUT", "OPTIONS")),
    *(
        ("GET", path, None, {})
        for path in (
            "/favicon.svg",
            "/docs",
            "/docs.json",
            "/schema.json",
            "/livez",
            "/readyz",
            "/nothing",
            "/docs/",
            "//livez",
        )
    ),
    ("POST", "/nothing", b"{}", {}),
    *(("POST", path, RECORD_BODY, {"content_encoding": "gzip"}) for path in JSON_PATHS),
    *((method, f"{path}/", None, {}) for path in JSON_PATHS for method in ("GET", "POST")),
    *((method, "/static_content/nothing", None, {}) for method in ("GET", "POST")),
    *(("POST", path, RECORD_BODY, {"content_type": kind}) for path in PREDICTION_PATHS for kind in WRONG_MEDIA_TYPES),
    *(("POST", path, RECORD_BODY, {}) for path in RECORD_PATHS),
    ("POST", "/predict_batch", json.dumps({"rows": [RECORD]}).encode(), {}),
    ("POST", "/predict_batch", json.dumps({"rows": [RECORD] * 3}).encode(), JSON),
    *(("POST", path, body, {}) for path in RECORD_PATHS for body, _ in WRONG_RECORDS.values()),
    *(("POST", "/predict_batch", as_row(body), {}) for body, _ in WRONG_RECORDS.values()),
    *(("POST", path, body, {}) for path in JSON_PATHS for body in WRONG_BODIES.values()),
    *(("POST", path, b"{}", {"content_type": kind}) for path in FEEDBACK_PATHS for kind in WRONG_MEDIA_TYPES),
    *(("POST", path, b'{"prediction_id": "nothing"}', {}) for path in FEEDBACK_PATHS),
    ("POST", "/feedback", b'{"prediction_id": "nothing", "correct": true}', {}),
    ("POST", "/feedback_batch", b'{"feedback": [{"prediction_id": "nothing", "correct": true}, 5]}', {}),
    *((method, "/feedback/form?token=nothing", None, {}) for method in ("GET", "HEAD")),
    *(("POST", "/feedback/form", b"token=x", {"content_type": kind}) for kind in (FORM, "application/json")),
]
# Headers of the reply itself; others, such as the date, belong to the connection.
COMPARED_HEADERS = {"content-type", "location", "allow", "www-authenticate", "server"} | {
    name.decode() for name, _ in (*SECURITY_HEADERS, DENY_ALL_POLICY)
}


def comparable(reply: tuple[int, dict[str, str], bytes]) -> tuple[int, dict[str, str], Any]:
    """A reply without what differs between any two replies."""
    status, headers, body = reply
    compared = {name: value for name, value in headers.items() if name in COMPARED_HEADERS}
    if headers.get("content-type") != "application/json":
        return status, compared, body
    answer = json.loads(body)
    for part in (answer, *answer.get("predictions", ())) if isinstance(answer, dict) else ():
        if "prediction_id" in part:
            part["prediction_id"] = UUID(part["prediction_id"][:36]).version
    return status, compared, answer


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Bento of a fresh clone, in BentoML's store of this test."""
    clone, home = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("bentoml")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    words = [str(Path(sys.executable).with_name("bentoml")), "build", "--output", "tag"]
    built = subprocess.run(
        words, cwd=clone, env={**os.environ, "BENTOML_HOME": str(home)}, capture_output=True, text=True, check=True
    )
    assert "__tag__:ratchet:" in built.stdout
    changed = ["git", "status", "--porcelain", "--ignored"]
    left = subprocess.run(changed, cwd=clone, capture_output=True, text=True, check=True).stdout.split("\n")
    assert [line for line in left if line and "__pycache__" not in line] == []
    [folder] = [path.parent for path in home.rglob("bento.yaml")]
    return folder


def test_a_bento_holds_what_serving_needs_and_its_lock(bento: Path) -> None:
    assert {path.name for path in (bento / "src").iterdir()} == {"bentofile.yaml", "ratchet", "serving"}
    assert (bento / "src" / "serving" / "pages" / "page.html").is_file()
    requirements = (bento / "env" / "python" / "requirements.txt").read_text()
    assert "://" not in requirements
    assert pinned(requirements) == pinned((ROOT / "requirements" / "serving.txt").read_text())
    assert str(Path.home()) not in (bento / "bento.yaml").read_text()


def pinned(requirements: str) -> set[str]:
    """The versions in a file of requirements."""
    return set(re.findall(r"^[\w.-]+==[^ ;\\\n]+", requirements, re.MULTILINE))


@pytest.mark.parametrize("kind", ["service", "bento"])
def test_bentoml_serve_answers_every_request_like_the_hot_path(
    service: Service,
    iris_models: tuple[Trained, Trained],
    tmp_path: Path,
    output: Path,
    kind: str,
    request: pytest.FixtureRequest,
) -> None:
    name = service.get("/model")["name"]
    settings = Settings(home=tmp_path / "home", models_dir=tmp_path / "models")
    version = publish(settings, name, iris_models[0])
    production_pointer(settings, name).promote(version, "first", "test")
    served, env = SERVICE, {}
    if kind == "bento":
        folder = request.getfixturevalue("bento")
        served, env = f"ratchet:{folder.name}", {"BENTOML_HOME": str(folder.parents[2])}
    with serving(settings, name, output, bentoml=served, **env) as other:
        assert differences(service, other) == []
        own = dict.fromkeys(("mlflow_run_id", "digest", "lineage"))
        assert other.get("/model") | own == service.get("/model") | own
        assert other.get("/health").keys() == service.get("/health").keys()
        _, answer = other.post("/predict", RECORD)
        row = stored(open_store(settings), answer["prediction_id"])
        assert row["features"] == RECORD
        feedback = {"prediction_id": answer["prediction_id"], "target": "virginica"}
        assert [other.post("/feedback", feedback)[0] for _ in range(2)] == [201, 200]
        assert other.post("/feedback", {**feedback, "target": "setosa"})[0] == 409
        link = other.post("/feedback/links", {"prediction_id": answer["prediction_id"]})[1]["url"]
        assert other.request("GET", link)[0] == 200
        assert b"in Production" in other.request("GET", "/")[2]
        use_clients_of_bentoml(other)


def differences(service: Service, other: Service) -> list[Any]:
    """The requests that two services answer differently."""
    found: list[Any] = []
    for method, path, body, headers in REQUESTS:
        hot, plain = service.request(method, path, body, **headers), other.request(method, path, body, **headers)
        if comparable(plain) != comparable(hot):
            found.append((method, path, body and body[:99], headers, comparable(plain), comparable(hot)))
    for path in PREDICTION_PATHS:
        hot, plain = raw_large(service, path), raw_large(other, path)
        if comparable(plain) != comparable(hot):
            found.append((path, comparable(plain), comparable(hot)))
    return found


def test_bentoml_serve_does_not_start_without_keys_outside_a_local_environment(
    served_settings: Settings, service: Service, output: Path
) -> None:
    model = service.get("/model")["name"]
    with serving(served_settings, model, output, ready=False, bentoml=SERVICE, RATCHET_ENV="production") as other:

        def refuses() -> bool:
            assert other.request("POST", "/predict", RECORD_BODY)[0] >= 500
            return True

        def has_ended() -> bool:
            return other.process.poll() not in (None, 0)

        other.until(lambda: has_ended() or refuses())
        other.until(lambda: "RATCHET_API_KEYS" in output.read_text())
