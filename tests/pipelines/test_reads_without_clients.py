"""ZenML's stage from its database, and packages that were verified before."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from pipelines.runner import RunSummary
from pipelines.stack import use_embedded_store
from pipelines.zenml_database import KNOWN_SCHEMAS, embedded_stage
from ratchet.errors import PackageError
from ratchet.model.package import sealed_package
from ratchet.registry import verified_packages
from ratchet.registry.fetch_package import production_pointer
from ratchet.settings import Settings
from ratchet.tracking.artifacts import local_path
from ratchet.tracking.reader import open_reader


def test_the_stage_in_zenmls_database_is_that_of_its_client(first: RunSummary, settings: Settings) -> None:
    from steps.model_control_plane import ZenMLStage

    use_embedded_store(settings)
    for model in ("iris", "unknown", "iri", ""):
        assert embedded_stage(settings, model) == (True, ZenMLStage(settings).read(model) if model else None)
    assert embedded_stage(settings, "iris")[1] is not None


def test_the_installed_zenml_has_a_known_schema() -> None:
    from importlib.metadata import version

    assert version("zenml") in KNOWN_SCHEMAS


def test_another_store_of_zenml_is_left_to_its_client(
    first: RunSummary, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = settings.home.resolve() / "zenml"
    shutil.copytree(source, tmp_path / "zenml")
    config = tmp_path / "zenml" / "config.yaml"
    config.write_text(config.read_text().replace(str(source), str(tmp_path / "zenml")))
    copy = Settings(home=tmp_path)
    monkeypatch.setenv("ZENML_CONFIG_PATH", str(tmp_path / "zenml"))
    assert embedded_stage(copy, "iris")[0]
    with sqlite3.connect(next(tmp_path.rglob("zenml.db"))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '99.0'")
    assert embedded_stage(copy, "iris") == (False, None)
    config.unlink()
    assert embedded_stage(copy, "iris") == (False, None)
    monkeypatch.setenv("ZENML_CONFIG_PATH", "elsewhere")
    assert embedded_stage(settings, "iris") == (False, None)


@pytest.mark.sqlite("artifacts have to be on this machine")
def test_a_package_that_was_verified_is_not_loaded_again_and_its_files_are_checked(
    first: RunSummary, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = production_pointer(settings, "iris")
    pointer.verify("1")
    loads: list[Path] = []
    load = sealed_package.load_package
    monkeypatch.setattr(
        sealed_package, "load_package", lambda folder, digest: [loads.append(folder), load(folder, digest)][1]
    )
    pointer.verify("1")
    assert not loads
    folder = local_path(open_reader(settings).location("iris", "1") or "")
    assert folder is not None
    path = folder / "model.skops"
    content = path.read_bytes()
    try:
        path.write_bytes(content + b" ")
        with pytest.raises(PackageError, match="tampered"):
            pointer.verify("1")
    finally:
        path.write_bytes(content)
    monkeypatch.setattr(verified_packages, "library_versions", lambda: {"scikit-learn": "another"})
    pointer.verify("1")
    assert len(loads) == 1
    pointer.verify("1")
    assert len(loads) == 1
