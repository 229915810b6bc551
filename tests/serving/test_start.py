"""The start of the service with settings that it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ratchet.errors import ConfigError, StateError
from ratchet.settings import Settings
from serving.server import serve
from serving.worker import Worker
from tests.conftest import Cli
from tests.serving.running import NOTICES, RECORD, Service, environment

KEY = "9f2c71ab04de68b35a"


def refusal(settings: Settings, **changes: Any) -> str:
    """The message of the error with which the service refuses settings."""
    with pytest.raises((ConfigError, StateError)) as caught:
        serve(settings.model_copy(update=Settings(**changes).model_dump(include=changes.keys())))
    return str(caught.value)


def error_line(cli: Cli, settings: Settings, *words: str, **env: str) -> str:
    """The line that the command prints when it does not start, with status 2."""
    done = cli("serve", "--workers", "1", *words, **{**environment(settings), **env})
    assert done.returncode == 2, done.stderr
    # The model is looked up while the workers start, so that the address may have been printed before.
    line, *more = [line for line in done.stderr.splitlines() if not line.startswith(NOTICES)]
    assert more == []
    assert line.startswith("error: ")
    return line


def test_a_refused_setting_is_reported_in_one_line(cli: Cli, served_settings: Settings) -> None:
    assert "RATCHET_API_KEYS" in error_line(cli, served_settings, RATCHET_ENV="production")


def test_weak_secrets_are_refused(served_settings: Settings) -> None:
    """All checks of secrets are in the tests of ``ratchet.secret_strength``."""
    for variable, changes in (
        ("RATCHET_API_KEYS", {"api_keys": [KEY, "changemechangeme"], "link_secret": "b31f7e92c64a05d87f"}),
        ("RATCHET_LINK_SECRET", {"api_keys": [KEY], "link_secret": KEY}),
    ):
        assert variable in refusal(served_settings, env="production", **changes)


def test_a_worker_needs_keys_outside_a_local_environment(served_settings: Settings) -> None:
    """As with ``bentoml serve``, which does not run the checks of the command."""
    with pytest.raises(ConfigError, match="RATCHET_API_KEYS"):
        Worker(served_settings.model_copy(update={"env": "production"}))


def test_a_port_in_use_is_refused(service: Service, served_settings: Settings) -> None:
    message = refusal(served_settings, port=service.port)
    assert f"cannot listen on 127.0.0.1 port {service.port}" in message
    assert "--port" in message
    assert service.post("/predict", RECORD)[0] == 200


def test_a_service_without_keys_that_other_machines_can_reach_is_warned_of(
    service: Service, served_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    open_to_all = {"host": "0.0.0.0", "port": service.port}
    refusal(served_settings, **open_to_all)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: listening on 0.0.0.0 without a key")
    assert "RATCHET_API_KEYS" in line
    for safe in ({**open_to_all, "api_keys": [KEY]}, {"port": service.port}):
        refusal(served_settings, **safe)
        assert capsys.readouterr().err == ""


def test_a_home_that_cannot_be_written_is_refused(served_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = refusal(served_settings, home=tmp_path / "file" / "home")
    assert "cannot write to" in message
    assert "set RATCHET_HOME" in message


def test_an_unknown_model_is_reported_with_the_known_models(
    cli: Cli, service: Service, served_settings: Settings
) -> None:
    known = service.get("/model")["name"]
    line = error_line(cli, served_settings, "--port", "0", "--model", known + "x")
    assert f"no model '{known}x'" in line
    assert known in line.split(";")[1]
