"""An exported model once more on its holdout: the figures and rows that DVC compares between commits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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

# Figures are written with so many digits: what differs after them is the order of a sum on another processor.
_DIGITS = 9


@dataclass(frozen=True)
class Judged:
    """An exported model's figures, and its predictions beside the truth, columns ``truth`` and ``prediction``."""

    evaluation: Evaluation
    predictions: pd.DataFrame


def judge_export(config: TrainingConfig, folder: Path) -> Judged:
    """Score ``model.joblib`` on the rows that its training run held out, as that run did.

    Loading the file runs the code in it, as serving it by ``MODEL_PATH`` does: it is this project's own export.

    Parameters
    ----------
    config: of the training run.
    folder: ``models/<model>``, with ``model.joblib`` and ``schema.json``.

    Raises
    ------
    ConfigError: nothing was exported there, or it is another config's model.
    PackageError: the file cannot be loaded.
    DataError: the data cannot be read.
    """
    model, schema = _load(folder)
    data = load_train_holdout(config.dataset, config.split, config.task, config.seed)
    if (schema.feature_names, schema.target) != (data.schema.feature_names, data.schema.target):
        raise ConfigError(
            f"{folder / 'schema.json'}: the model says {_columns(schema)}, and the config's data are"
            f" {_columns(data.schema)}: train with this config first"
        )
    evaluation = evaluate_model(model, data.holdout, schema, config.evaluate, config.seed)
    return Judged(evaluation, _side_by_side(score_rows(model, data.holdout, schema), schema))


def write_judged(judged: Judged, figures: Path, predictions: Path) -> None:
    """Write figures as JSON and predictions as CSV, each whole; equal models give equal bytes.

    Parameters
    ----------
    judged: what ``judge_export`` found.
    figures: a flat JSON file: each metric by its name, the interval of the primary one as ``<metric>_low`` and
        ``<metric>_high``, and ``rows``.
    predictions: a CSV file with the columns ``truth`` and ``prediction``, one row for each held-out row.
    """
    found = judged.evaluation
    content: dict[str, float] = {**found.metrics}
    content |= {f"{found.primary_metric}_low": found.low, f"{found.primary_metric}_high": found.high}
    rounded = {name: round(value, _DIGITS) for name, value in sorted(content.items())}
    text = json.dumps({**rounded, "rows": found.n_rows}, indent=2) + "\n"
    for path in (figures, predictions):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(figures, lambda path: path.write_text(text))
    write_whole(predictions, lambda path: path.write_bytes(canonical_csv(judged.predictions)))


def _columns(schema: Schema) -> str:
    names = schema.feature_names
    return f"{schema.target} from {', '.join(names[:4])}{', …' if len(names) > 4 else ''}"


def _load(folder: Path) -> tuple[Any, Schema]:
    path, described = folder / "model.joblib", folder / "schema.json"
    for file in (path, described):
        if not file.is_file():
            raise ConfigError(f"there is no file {file}: train with this config first, or run dvc pull")
    try:
        return load_joblib(path), Schema.model_validate_json(described.read_text())
    except Exception as error:  # whatever is in the file raises whatever it likes
        reason = one_line(error)
        raise PackageError(f"{path}: cannot be loaded: {reason}") from None


def _side_by_side(scores: metrics.Scores, schema: Schema) -> pd.DataFrame:
    if isinstance(scores, metrics.ClassificationScores):
        names = np.array([str(label) for label in schema.labels or ()], dtype=object)
        return pd.DataFrame({"truth": names[scores.truth], "prediction": names[scores.predicted]})
    columns: dict[str, npt.NDArray[Any]] = {"truth": scores.truth, "prediction": scores.predicted}
    return pd.DataFrame(columns).round(_DIGITS)
