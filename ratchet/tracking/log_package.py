"""Package a fitted model and log it to MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.data.schema import Schema
from ratchet.model.package.sealed_package import write_package
from ratchet.settings import Settings
from ratchet.tracking.connection import connect
from ratchet.tracking.models import PackageRef, log_package
from ratchet.tracking.runs import PACKAGE_BYTES, log_metrics

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def log_packaged(
    settings: Settings,
    run_id: str,
    name: str,
    model: Pipeline,
    rows: pd.DataFrame,
    schema: Schema,
    estimator: str,
    seen_before: npt.NDArray[np.uint64] | None = None,
) -> PackageRef:
    """Package a model in a folder that is thrown away, and log it to an MLflow run.

    Parameters
    ----------
    settings: where MLflow is.
    run_id: the run that trained it.
    name: the model's name.
    model, rows, schema, seen_before: as for ``write_package``.
    estimator: the dotted path, shown as the logged model's type.
    """
    with tempfile.TemporaryDirectory(prefix="ratchet-") as scratch:
        folder = Path(scratch) / "package"
        digest, manifest = write_package(folder, model, rows, schema, seen_before)
        client = connect(settings)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        log_metrics(client, run_id, {PACKAGE_BYTES: size})
        return log_package(client, run_id, name, folder, digest, estimator=estimator, onnx=manifest.onnx.exported)
