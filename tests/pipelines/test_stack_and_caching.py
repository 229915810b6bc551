from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pipelines.progress import step_events
from pipelines.runner import RunSummary
from pipelines.stack import _tracker_configuration, ensure_stack, use_embedded_store
from pipelines.startup import cached_package_scan
from ratchet.errors import ConfigError
from ratchet.settings import Settings, load_settings
from tests.conftest import ROOT


def test_registering_the_stack_again_changes_nothing(first: RunSummary, settings: Settings) -> None:
    from zenml.client import Client

    before = Client().get_stack("ratchet").model_dump(mode="json")
    assert ensure_stack(settings, embedded=True) == "ratchet"
    assert Client().get_stack("ratchet").model_dump(mode="json") == before


def test_a_moved_mlflow_store_is_followed(first: RunSummary, settings: Settings, tmp_path: Path) -> None:
    from zenml.client import Client
    from zenml.enums import StackComponentType

    def tracker_uri() -> str:
        found = Client().get_stack_component(StackComponentType.EXPERIMENT_TRACKER, "ratchet")
        return str(found.configuration["tracking_uri"])

    ensure_stack(settings.model_copy(update={"mlflow_uri": f"sqlite:///{tmp_path}/other.db"}), embedded=True)
    assert tracker_uri() == f"sqlite:///{tmp_path}/other.db"
    ensure_stack(settings, embedded=True)
    assert tracker_uri() == settings.tracking_uri


def test_a_store_of_the_users_own_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZENML_CONFIG_PATH", str(tmp_path))
    assert not use_embedded_store(load_settings())
    monkeypatch.delenv("ZENML_CONFIG_PATH")
    monkeypatch.setenv("ZENML_STORE_URL", "http://127.0.0.1:8237")
    assert not use_embedded_store(load_settings())
    assert "ZENML_CONFIG_PATH" not in os.environ


@pytest.mark.parametrize(("kind", "embedded"), [("rest", False), ("sql", True)])
def test_a_server_the_user_is_logged_in_to_is_used(
    kind: str, embedded: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ZENML_CONFIG_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    config = tmp_path / ".config" / "zenml" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"store:\n  type: {kind}\n  url: http://127.0.0.1:8237\n")
    assert use_embedded_store(load_settings()) == embedded


@pytest.mark.slow
def test_a_stack_without_a_tracker_is_refused(tmp_path: Path) -> None:
    program = (
        "from ratchet.errors import ConfigError\n"
        "from ratchet.settings import load_settings\n"
        "from pipelines.stack import ensure_stack, use_embedded_store\n"
        "settings = load_settings()\n"
        "assert not use_embedded_store(settings)\n"
        "try: ensure_stack(settings, embedded=False)\n"
        "except ConfigError as error: print(error)\n"
    )
    env = {**os.environ, "ZENML_CONFIG_PATH": str(tmp_path), "RATCHET_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert "has no MLflow experiment tracker: register one and add it" in result.stdout


def test_a_stack_that_is_named_is_made_on_a_store_of_the_users_own(
    first: RunSummary, settings: Settings, tmp_path: Path
) -> None:
    from zenml.client import Client
    from zenml.enums import StackComponentType

    named = settings.model_copy(update={"zenml_stack": "team", "zenml_artifacts": str(tmp_path / "artifacts")})
    try:
        assert ensure_stack(named, embedded=False) == "team"
        assert ensure_stack(named, embedded=False) == "team"
        assert Client().active_stack_model.name == "team"
        store = Client().get_stack_component(StackComponentType.ARTIFACT_STORE, "team")
        assert (store.flavor_name, store.configuration["path"]) == ("local", str(tmp_path / "artifacts"))
    finally:
        assert ensure_stack(settings, embedded=True) == "ratchet"


def test_an_artifact_store_in_s3_keeps_no_key_in_zenmls_store(first: RunSummary, settings: Settings) -> None:
    from zenml.client import Client
    from zenml.enums import StackComponentType

    pytest.importorskip("s3fs")
    named = settings.model_copy(update={"zenml_stack": "bucket", "zenml_artifacts": "s3://ratchet/zenml"})
    try:
        assert ensure_stack(named, embedded=False) == "bucket"
        store = Client().get_stack_component(StackComponentType.ARTIFACT_STORE, "bucket")
        assert store.flavor_name == "s3"
        assert {key for key, value in store.configuration.items() if value} == {"path"}
    finally:
        ensure_stack(settings, embedded=True)


def test_a_stack_that_tracks_to_another_server_is_refused(first: RunSummary, settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"mlflow_uri": "postgresql://me:secret@db/x"})
    here = re.escape(settings.tracking_place)
    with pytest.raises(ConfigError, match=rf"tracks to {here}, Ratchet to postgresql://me:\*\*\*@db/x: set MLFLOW_"):
        ensure_stack(elsewhere, embedded=False)
    assert ensure_stack(settings, embedded=False) == "ratchet"


def test_an_mlflow_server_needs_no_password_of_ours(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    server = settings.model_copy(update={"mlflow_uri": "http://127.0.0.1:5000"})
    assert _tracker_configuration(settings) == {"tracking_uri": settings.tracking_uri}
    assert _tracker_configuration(server)["tracking_token"] == "none-needed"
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    assert _tracker_configuration(server)["tracking_password"] == "secret"


@pytest.fixture
def caching(settings: Settings) -> ModuleType:
    """The module ``steps.caching``, whose import has ZenML read its configuration."""
    use_embedded_store(settings)
    from steps import caching

    return caching


def test_the_fingerprint_follows_every_source_file(tmp_path: Path, caching: ModuleType) -> None:
    source_fingerprint = caching.source_fingerprint
    for folder in ("ratchet/data", "steps"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ratchet/data/deep.py").write_text("one = 1\n")
    (tmp_path / "steps/train.py").write_text("two = 2\n")
    before = source_fingerprint(tmp_path)
    assert source_fingerprint(tmp_path) == before
    (tmp_path / "ratchet/data/deep.py").write_text("one = 2\n")
    after = source_fingerprint(tmp_path)
    (tmp_path / "steps/train.py").write_text("two = 3\n")
    assert len({before, after, source_fingerprint(tmp_path)}) == 3


def test_the_fingerprint_follows_libraries_and_the_store(monkeypatch: pytest.MonkeyPatch, caching: ModuleType) -> None:
    library_fingerprint = caching.library_fingerprint
    found = set()
    for versions, uri in [({"numpy": "1"}, "sqlite:///a"), ({"numpy": "2"}, "sqlite:///a"), ({"numpy": "1"}, "b")]:
        monkeypatch.setattr(caching, "library_versions", lambda versions=versions: versions)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        library_fingerprint.cache_clear()
        found.add(library_fingerprint())
    library_fingerprint.cache_clear()
    assert len(found) == 3


def test_step_events_are_read_from_zenmls_log() -> None:
    seen: list[tuple[str, str]] = []
    with step_events(lambda *event: seen.append(event), verbose=False):
        log = logging.getLogger("zenml.test")
        log.info("Step `ingest` has started.")
        log.info("Step `ingest` has finished in `0.1s`.")
        log.info("Using cached version of step `embed`.")
        log.error("Step train failed.")
        logging.getLogger("other").info("Step `x` has started.")
    log.info("Step `late` has started.")
    assert seen == [("ingest", "started"), ("ingest", "finished"), ("embed", "cached"), ("train", "failed")]


def test_installed_packages_are_scanned_once() -> None:
    import importlib.metadata

    scan = importlib.metadata.packages_distributions
    with cached_package_scan():
        assert importlib.metadata.packages_distributions() is importlib.metadata.packages_distributions()
    assert importlib.metadata.packages_distributions is scan
