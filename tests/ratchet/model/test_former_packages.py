"""Packages and exports that release 0.1 wrote still load and still predict what they predicted."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from ratchet.data import Schema
from ratchet.inference.runtime import load_runtime
from ratchet.model.package.model_files import load_joblib
from ratchet.model.package.sealed_package import load_package, verify_package
from tests.conftest import ROOT

ARCHIVE = ROOT / "tests" / "fixtures" / "packages-0.1.zip"
NAMES = ("anomalies", "calendar", "costs", "ratings")


@pytest.fixture(scope="module")
def written_by_0_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("former")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_package_of_release_0_1_loads_reproduces_its_golden_predictions_and_serves(
    written_by_0_1: Path, name: str
) -> None:
    digest = json.loads((written_by_0_1 / "digests.json").read_text())[name]
    package = load_package(written_by_0_1 / name, digest)
    verify_package(package)
    runtime = load_runtime(written_by_0_1 / name, digest, model=name, version="1")
    assert runtime.predict([runtime.reader.example()])


@pytest.mark.parametrize("name", NAMES)
def test_an_export_of_release_0_1_loads_and_predicts(written_by_0_1: Path, name: str) -> None:
    folder = written_by_0_1 / f"{name}-export"
    schema = Schema.model_validate_json((folder / "schema.json").read_text())
    package = load_package(written_by_0_1 / name, json.loads((written_by_0_1 / "digests.json").read_text())[name])
    assert package.sample is not None
    rows = schema.select(package.sample)
    assert load_joblib(folder / "model.joblib").predict(rows).tolist() == package.model.predict(rows).tolist()
