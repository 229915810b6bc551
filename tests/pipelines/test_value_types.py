"""Values of a config keep their types in every store: MLflow's, ZenML's, and that of ``reproduce``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ratchet.config.files import load_config
from ratchet.settings import Settings
from ratchet.tracking import run_record
from tests.conftest import ROOT, Cli
from tests.ratchet.config.test_plain_yaml import same
from tests.training_runs import train_in

COSTS = ROOT / "tests" / "cases" / "costs.csv"


def config_file(folder: Path, data: Path, model: str, params: dict[str, Any], target: str = "late") -> Path:
    """A config of a logistic regression on a file."""
    content = {
        "model": model,
        "dataset": {"source": "csv", "path": str(data), "target": target},
        "train": {"estimator": "sklearn.linear_model.LogisticRegression", "params": params},
        "evaluate": {"primary_metric": "f1_macro"},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param({0: 1, 1: 5}, id="integers"),
        pytest.param({False: 1, True: 5}, id="booleans", marks=pytest.mark.slow),
        pytest.param({0.0: 1, 1.0: 5}, id="floats", marks=pytest.mark.slow),
    ],
)
def test_weights_of_classes_train_and_are_recorded_as_they_were_given(
    weights: dict[Any, int], settings: Settings, model: str, tmp_path: Path
) -> None:
    config = load_config(config_file(tmp_path, COSTS, model, {"class_weight": weights}))
    summary = train_in(settings, config)
    weighted = run_record(settings, summary.mlflow_run_id)
    assert weighted.config is not None
    assert same(weighted.config["train"]["params"]["class_weight"], weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "weights"),
    [
        ((0, 1), {0: 1, 1: 5}),
        (("no", "yes"), {"no": 1, "yes": 5}),
    ],
    ids=["integers", "text"],
)
def test_a_version_with_class_weights_is_reproduced_identically(
    names: tuple[Any, Any], weights: dict[Any, int], cli: Cli, model: str, tmp_path: Path
) -> None:
    data = tmp_path / "costs.csv"
    header, *rows = COSTS.read_text().splitlines()
    data.write_text("\n".join([header, *(f"{row[:-1]}{names[int(row[-1])]}" for row in rows)]) + "\n")
    path = config_file(tmp_path, data, model, {"class_weight": weights})
    home = {"RATCHET_HOME": str(tmp_path / "home"), "RATCHET_MODELS_DIR": str(tmp_path / "models")}
    trained = cli("--config", str(path), **home)
    assert trained.returncode == 0, trained.stderr
    again = cli("reproduce", "1", "--json", **home)
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads(again.stdout)["identical"]
