"""A home after a training, predictions and feedback, all by processes whose umask takes no permission away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ratchet.settings import Settings
from tests.conftest import Cli
from tests.homes import prepared
from tests.ratchet.test_private_files import permissions, readable_by_others
from tests.serving.running import RECORD, serving

pytestmark = pytest.mark.slow


def test_no_row_of_data_can_be_read_by_other_users(tmp_path: Path, cli: Cli) -> None:
    home = prepared(tmp_path / "home")
    home.chmod(0o777)
    settings = Settings(home=home, models_dir=tmp_path / "models")
    before = os.umask(0)
    try:
        trained = cli("--config", "baseline.yaml", RATCHET_HOME=str(home), RATCHET_MODELS_DIR=str(settings.models_dir))
        assert trained.returncode == 0, trained.stderr
        with serving(settings, "iris", tmp_path / "output") as service:
            status, answer = service.post("/predict", RECORD)
            assert status == 200
            status, _ = service.post("/feedback", {"prediction_id": answer["prediction_id"], "target": "setosa"})
            assert status in (200, 201)
    finally:
        os.umask(before)
    assert permissions(home) == 0o700
    assert readable_by_others(home) == []
    data = [*home.glob("ratchet.db"), *home.glob("ratchet.db-*"), *(home / "packages").rglob("*.json")]
    assert len(data) > 5
    assert {path.name: permissions(path) for path in data if permissions(path) & 0o077} == {}
