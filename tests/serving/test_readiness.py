"""What the command prints while the service starts, which is true when it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ratchet.registry.fetch_package import production_pointer
from ratchet.settings import Settings
from serving.readiness import announce_start
from tests.fitted import Trained
from tests.serving.conftest import publish, published
from tests.serving.running import RECORD, Service, serving


def test_the_start_is_announced_before_the_version(service: Service) -> None:
    address = f"http://127.0.0.1:{service.port}"
    service.until(lambda: len(service.notices) == 2)
    starting, ready = service.notices
    model = service.get("/model")["name"]
    assert starting == f"starting {model} with 2 workers on {address}; Ctrl-C ends it"
    assert re.fullmatch(rf"ready in \d+\.\d s: {model} version 1 on {address} \(API at /docs\)", ready)
    assert service.request("GET", "/docs")[0] == 200


@pytest.mark.slow
def test_a_service_that_is_announced_as_ready_answers(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path
) -> None:
    model = published(served_settings, iris_models[0]).model
    with serving(served_settings, model, output, ready=False) as service:
        service.until(lambda: any(line.startswith("ready in ") for line in service.notices))
        statuses = [service.post("/predict", RECORD)[0] for _ in range(20)]
    assert statuses == [200] * 20


@pytest.mark.slow
def test_a_service_without_a_version_is_announced_as_waiting_until_one_is_promoted(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path, model: str
) -> None:
    publish(served_settings, model, iris_models[0])
    with serving(served_settings, model, output, ready=False, RATCHET_POLL_INTERVAL="0.2") as service:
        service.until(lambda: len(service.notices) == 2)
        assert service.notices[1].endswith(f"no version of {model} is loaded yet")
        assert service.post("/predict", RECORD)[0] == 503
        status, headers, page = service.request("GET", "/")
        assert (status, headers["content-type"], model in page.decode()) == (503, "text/html; charset=utf-8", True)
        production_pointer(served_settings, model).promote("1", "first", "test")
        service.until(lambda: len(service.notices) == 3)
        assert service.notices[2].startswith(f"ready: {model} version 1 on ")
        service.until_served("1")  # one worker that serves it is enough for the notice
        assert service.post("/predict", RECORD)[0] == 200


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"workers": 1, "serve_model": "iris"}, "starting iris with 1 worker on http://127.0.0.1:8000; Ctrl-C ends it"),
        ({"host": "::1", "workers": 3}, "starting 3 workers on http://[::1]:8000; Ctrl-C ends it"),
    ],
)
def test_the_line_names_what_is_known_at_the_start(
    changes: dict[str, object], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    announce_start(Settings().model_copy(update=changes))
    assert capsys.readouterr().err == line + "\n"
