"""Score an exported model on its holdout, and write the metrics and predictions that DVC compares between commits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ratchet.config import TrainingConfig
from ratchet.data import Schema
from ratchet.data.atomic_write import write_whole
from ratchet.data.fingerprint import canonical_csv
from ratchet.errors import ConfigError, PackageError, one_line
from ratchet.model import metrics
from ratchet.model.evaluation import Evaluation, evaluate_model, score_rows
from ratchet.model.package.model_files import load_joblib
from ratchet.model.train_holdout import load_train_holdout

# Later digits depend on the order of summation, which differs between processors.
_DIGITS = 9


@dataclass(frozen=True)
class ExportScores:
    """Metrics of an exported model, and its predictions with the columns ``truth`` and ``prediction``."""

    evaluation: Evaluation
    predictions: pd.DataFrame


def score_export(config: TrainingConfig, folder: Path) -> ExportScores:
    """Score ``model.joblib`` of a folder with ``schema.json`` on the rows that its training run held out.

    Loading the file runs the code in it, so it has to be this project's own export.

    Raises
    ------
    ConfigError: the folder has no export, or one of another config.
    PackageError: the file cannot be loaded.
    DataError: the data cannot be read.
    """
    model, schema = _load(folder)
    data = load_train_holdout(config.dataset, config.split, config.task, config.seed)
    if (schema.feature_names, schema.target) != (data.schema.feature_names, data.schema.target):
        raise ConfigError(
            f"{folder / 'schema.json'}: the model predicts {_columns(schema)}, the config {_columns(data.schema)}:"
            " train with this config first"
        )
    evaluation = evaluate_model(model, data.holdout, schema, config.evaluate, config.seed)
    return ExportScores(evaluation, _predictions(score_rows(model, data.holdout, schema), schema))


def write_scores(scores: ExportScores, figures: Path, predictions: Path) -> None:
    """Write metrics as JSON and predictions as CSV, each atomically; equal models give equal bytes.

    Parameters
    ----------
    figures: a flat JSON file with each metric, the interval of the primary one as ``<metric>_low`` and
        ``<metric>_high``, and ``rows``.
    predictions: a CSV file with the columns ``truth`` and ``prediction``.
    """
    result = scores.evaluation
    interval = {f"{result.primary_metric}_low": result.low, f"{result.primary_metric}_high": result.high}
    rounded = {name: round(value, _DIGITS) for name, value in sorted((result.metrics | interval).items())}
    text = json.dumps({**rounded, "rows": result.n_rows}, indent=2) + "\n"
    for path in (figures, predictions):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(figures, lambda path: path.write_text(text))
    write_whole(predictions, lambda path: path.write_bytes(canonical_csv(scores.predictions)))


def _columns(schema: Schema) -> str:
    names = schema.feature_names
    return f"{schema.target} from {', '.join(names[:4])}{', …' if len(names) > 4 else ''}"


def _load(folder: Path) -> tuple[Any, Schema]:
    model, schema = folder / "model.joblib", folder / "schema.json"
    for file in (model, schema):
        if not file.is_file():
            raise ConfigError(f"there is no file {file}: train with this config first, or run dvc pull")
    try:
        return load_joblib(model), Schema.model_validate_json(schema.read_text())
    except Exception as error:  # unpickling a damaged file raises any exception
        raise PackageError(f"{model}: cannot be loaded: {one_line(error)}") from None


def _predictions(scores: metrics.Scores, schema: Schema) -> pd.DataFrame:
    truth: Any = scores.truth
    predicted: Any = scores.predicted
    if isinstance(scores, metrics.ClassificationScores):
        names = np.array([str(label) for label in schema.labels or ()], dtype=object)
        truth, predicted = names[scores.truth], names[scores.predicted]
    return pd.DataFrame({"truth": truth, "prediction": predicted}).round(_DIGITS)
