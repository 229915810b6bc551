"""Write a fitted model's package and log it to MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.entities import LoggedModelOutput

from ratchet.data.schema import Schema
from ratchet.model.package.sealed_package import write_package
from ratchet.settings import Settings
from ratchet.tracking.connection import connect
from ratchet.tracking.models import DIGEST_TAG, PackageRef
from ratchet.tracking.runs import PACKAGE_BYTES, log_metrics

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def log_package(
    settings: Settings,
    run_id: str,
    name: str,
    model: Pipeline,
    rows: pd.DataFrame,
    schema: Schema,
    estimator: str,
    seen_before: npt.NDArray[np.uint64] | None = None,
) -> PackageRef:
    """Write a model's package to a temporary folder, and log it as the run's logged model.

    Parameters
    ----------
    model, rows, schema, seen_before: as for ``write_package``.
    estimator: the estimator's dotted path, shown as the logged model's type.
    """
    client = connect(settings)
    with tempfile.TemporaryDirectory(prefix="ratchet-") as scratch:
        folder = Path(scratch) / "package"
        digest, manifest = write_package(folder, model, rows, schema, seen_before)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        log_metrics(client, run_id, {PACKAGE_BYTES: size})
        experiment = client.get_run(run_id).info.experiment_id
        logged = client.create_logged_model(
            experiment, name=name, source_run_id=run_id, tags={DIGEST_TAG: digest}, model_type=estimator
        )
        client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return PackageRef(model_id=logged.model_id, run_id=run_id, digest=digest, onnx=manifest.onnx.exported)
