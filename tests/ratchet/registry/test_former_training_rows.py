"""Champions whose packages were written before rows had identities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ratchet.config.plain_yaml import write_yaml
from ratchet.data import row_hashes
from ratchet.data.training_rows import TrainingRows
from ratchet.model.package.sealed_package import load_package
from ratchet.registry.former_training_rows import with_identities
from ratchet.registry.model_version import Version
from ratchet.settings import Settings
from ratchet.tracking import connect, ensure_experiment, log_inputs
from tests.fitted import Trained, lineage_on

NONE = np.empty(0, dtype=np.uint64)


@pytest.mark.parametrize(
    ("data", "seed", "known"), [("v1", 42, True), ("v2", 42, False), ("v1", 7, False)], ids=["same", "data", "seed"]
)
def test_rows_of_the_same_version_split_and_seed_are_known_by_their_place(
    iris: Trained, iris_package: tuple, mlflow_settings: Settings, model_name: str, data: str, seed: int, known: bool
) -> None:
    client = connect(mlflow_settings)
    run = client.create_run(ensure_experiment(mlflow_settings, model_name)).info.run_id
    config = iris.config.model_copy(update={"seed": seed})
    log_inputs(client, run, config, lineage_on("v1"))
    recorded = config.to_plain()
    for newer in ("group", "fill"):
        recorded["dataset"].pop(newer, None)
    client.log_text(run, write_yaml(recorded), "config.yaml")
    version = Version(model_name, "1", run, "digest", "Production", {"ratchet.data_version": "v1"})
    package = load_package(*iris_package)
    labelled = row_hashes(iris.train)
    old = replace(package, training_rows=TrainingRows(frozenset(), NONE, NONE, 0, 0, labelled=labelled))
    lineage = lineage_on(data)
    found = with_identities(
        mlflow_settings, old, version, package.training_rows, iris.holdout_identities, iris.config, lineage
    ).training_rows
    twins = iris.train.head(30)  # of the holdout's rows, by their contents
    assert found.contains(iris.holdout_identities, twins).any() != known
    assert found.labelled is labelled
