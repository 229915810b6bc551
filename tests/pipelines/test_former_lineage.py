"""Versions and runs that an earlier release wrote are read like new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ratchet.experiments.comparison.table import compare
from ratchet.inference.package_cache import PackageCache
from ratchet.loop.production_status import status
from ratchet.loop.version_lineage import version_lineage
from ratchet.monitoring.reports.version_rows import training_rows
from ratchet.registry import doctor
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from tests.former_lineage import with_former_lineage
from tests.training_runs import config_for, train_in


def read(settings: Settings, model: str, home: Path) -> dict[str, Any]:
    """What the readers of tags say about version 1; packages are downloaded into the home."""
    pointer = ProductionPointer(settings, model)
    version = pointer.get("1")
    elsewhere = settings.model_copy(update={"home": home, "mlflow_uri": settings.tracking_uri})
    details = PackageCache(elsewhere).load(version).details
    lineage = details["lineage"]
    return {
        "lineage": version_lineage(settings, pointer, "1"),
        "status": status(settings, pointer),
        "compare": compare(settings, model),
        "doctor": doctor.examine(pointer),
        "rows": [rows.to_json() for rows in training_rows(settings, version)],
        "service": {**details, "lineage": {key: lineage[key] for key in lineage.keys() - {"pipeline", "outcome"}}},
    }


@pytest.mark.slow
def test_a_version_of_an_earlier_release_is_read_like_a_new_one(settings: Settings, model: str, tmp_path: Path) -> None:
    train_in(settings, config_for(model))
    new = read(settings, model, tmp_path / "new")
    with_former_lineage(settings, model, "1")
    assert read(settings, model, tmp_path / "old") == new
    assert new["lineage"]["libraries"]["numpy"]
    assert new["lineage"]["zenml_run"]["id"]

    challenger = train_in(settings, config_for(model, "train.params.C=0.5"))
    assert challenger.promotion.champion in ("1", "2")
    assert "against_champion" in {check.name for check in challenger.promotion.checks}
