"""Comparison of new rows with the rows that a model was trained on.

The reference is the profile inside the model's package. The new rows are counted into its cells, so that a comparison
needs neither the training rows nor labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import Drift
from ratchet.data.schema import Schema
from ratchet.model.package.histogram import Counts, as_numbers, count, no_rows
from ratchet.model.package.profile import Profile
from ratchet.model.package.profiling import PREDICTION
from ratchet.monitoring.drift.domain_classifier import Separation, separate
from ratchet.monitoring.drift.notes import notes_on, notes_on_package
from ratchet.monitoring.drift.verdicts import FEWEST_ROWS, ColumnDrift, column_verdicts, reaches

if TYPE_CHECKING:
    from ratchet.model.package.sealed_package import Package

# Rows in memory at a time.
_BATCH_ROWS = 2**17
# Bytes of a column read at a time; by default Arrow reads whole row groups, which can be the whole file.
_READ_AHEAD = 2**20


class DriftReport(BaseModel):
    """The verdict on some rows.

    Attributes
    ----------
    reference: the model version whose profile is the reference; None without a champion.
    figures: the drift figure of each feature.
    drifted: the features with a figure at the threshold or above it, and a p-value within the level.
    share: drifted features divided by all.
    detected: whether ``share`` reaches the config's limit, the predictions drifted, or the domain classifier separates
        the rows from training rows.
    n_rows: rows that were compared.
    level: the limit of a p-value: the config's alpha, divided among the groups that were tested.
    p_values: of each feature, after Benjamini–Hochberg.
    embedded: the columns of the embedder's output; shown, without effect on ``detected``.
    predictions: the predicted label or number, as one column.
    domain_auc, domain_p: of the domain classifier; None if it did not run.
    domain_drifted: whether the domain classifier separates the rows from training rows.
    notes: unusual features of the rows, one line each.
    """

    model_config = ConfigDict(frozen=True)

    reference: str | None
    method: str
    figures: dict[str, float] = {}
    drifted: tuple[str, ...] = ()
    share: float = 0.0
    detected: bool = False
    n_rows: int = 0
    level: float = 0.0
    p_values: dict[str, float] = {}
    embedded: tuple[ColumnDrift, ...] = ()
    predictions: tuple[ColumnDrift, ...] = ()
    domain_auc: float | None = None
    domain_p: float | None = None
    domain_drifted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def has_verdict(self) -> bool:
        """Whether there is a reference, and are enough rows to compare with it."""
        return self.reference is not None and self.n_rows >= FEWEST_ROWS

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        if self.reference is None:
            return "no reference yet"
        if not self.has_verdict:
            return f"too few rows to tell: {self.n_rows}, {FEWEST_ROWS} are needed"
        verdict = "drift" if self.detected else "no drift"
        reasons = [f"{len(self.drifted)} of {len(self.figures)} features drifted"]
        reasons += ["the predictions drifted"] if any(column.drifted for column in self.predictions) else []
        reasons += [f"separable from training rows with AUC {self.domain_auc:.2f}"] if self.domain_drifted else []
        return f"{verdict} against version {self.reference}: {', '.join(reasons)}"


def compare(rows: pd.DataFrame, reference: Profile | None, config: Drift, version: str | None) -> DriftReport:
    """Compare rows, shape (rows, >= features), with the profile of the champion, whose version the report names.

    Both are None without a champion.
    """
    return compare_batches([rows], reference, config, version)


def compare_batches(
    batches: Iterable[pd.DataFrame], reference: Profile | None, config: Drift, version: str | None
) -> DriftReport:
    """Compare rows that come in batches of shape (any, >= features), in the memory of one batch."""
    if reference is None:
        return DriftReport(reference=None, method=config.method)
    points = config.method == "ks"
    total = no_rows(reference.features, points=points)
    for batch in batches:
        total += count(batch, reference.features, points=points)
    return _report(_Window(total), reference, config, version)


def compare_parquet(path: Path, reference: Profile | None, config: Drift, version: str | None) -> DriftReport:
    """Compare the rows of a Parquet file of any size; only its feature columns are read."""
    names = [feature.name for feature in reference.features] if reference else []
    return compare_batches(_batches(path, names), reference, config, version)


def compare_window(
    rows: pd.DataFrame,
    predictions: Sequence[Any] | None,
    package: Package | None,
    config: Drift,
    version: str | None,
) -> DriftReport:
    """Compare rows, their embedded features and their predictions with those of the training rows.

    Parameters
    ----------
    rows: records as they were received, shape (rows, >= features); numbers may be integers, a missing value None.
    predictions: the service's answers, a label or number for each row; None makes the model predict.
    package: the champion's package; None without a champion.
    """
    if package is None:
        return DriftReport(reference=None, method=config.method)
    profile, points = package.profile, config.method == "ks"
    window = _Window(count(rows, profile.features, points=points), notes=tuple(notes_on_package(package)))
    if not window.is_large_enough or len(window.inputs.columns) < len(profile.features):
        return _report(window, profile, config, version)
    features = _typed(rows, package.schema)
    if profile.embedded:
        window.embedded = count(_embedded(features, package), profile.embedded, points=points)
    if profile.predictions:
        answers = package.model.predict(features) if predictions is None else predictions
        frame = pd.DataFrame({PREDICTION: np.asarray(answers).tolist()})
        window.predictions = count(frame, profile.predictions, points=points)
    if config.domain_auc is not None and package.sample is not None and len(package.sample) >= FEWEST_ROWS:
        known, new = _separable(package.sample, package), _separable(features, package)
        window.domain = separate(known, new) if known.shape[1] else None
    return _report(window, profile, config, version)


@dataclass
class _Window:
    """Counts of the new rows; a group that is not compared is None."""

    inputs: Counts
    embedded: Counts | None = None
    predictions: Counts | None = None
    domain: Separation | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_large_enough(self) -> bool:
        return self.inputs.n_rows >= FEWEST_ROWS


def _report(window: _Window, profile: Profile, config: Drift, version: str | None) -> DriftReport:
    groups = (window.inputs, window.embedded, window.predictions, window.domain)
    level = config.alpha / sum(group is not None for group in groups)
    inputs = column_verdicts(window.inputs, profile.features, config, level)
    predictions = column_verdicts(window.predictions, profile.predictions, config, level)
    domain = window.domain
    separated = domain is not None and domain.p_value <= level and reaches(domain.auc, config.domain_auc)
    drifted = tuple(column.name for column in inputs if column.drifted)
    share = len(drifted) / len(inputs) if inputs else 0.0
    return DriftReport(
        reference=version,
        method=config.method,
        figures={column.name: column.figure for column in inputs},
        drifted=drifted,
        share=share,
        detected=reaches(share, config.share) or any(column.drifted for column in predictions) or separated,
        n_rows=window.inputs.n_rows,
        level=level,
        p_values={column.name: column.p_value for column in inputs},
        embedded=column_verdicts(window.embedded, profile.embedded, config, level),
        predictions=predictions,
        domain_auc=domain and domain.auc,
        domain_p=domain and domain.p_value,
        domain_drifted=separated,
        notes=tuple(_notes(window, profile)),
    )


def _notes(window: _Window, profile: Profile) -> Iterator[str]:
    if not window.is_large_enough:
        n_rows = window.inputs.n_rows
        yield f"too few rows: the window has {n_rows}, {FEWEST_ROWS} are required; nothing was compared"
    yield from notes_on(window.inputs, profile.features)
    if window.predictions:
        yield from notes_on(window.predictions, profile.predictions)
    yield from window.notes


def _typed(rows: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the features in the model's types; an absent time is missing in every row."""
    columns: dict[str, Any] = {
        f.name: as_numbers(rows[f.name])
        if f.type == "number"
        else rows.get(f.name, pd.Series(index=rows.index, dtype=object)).astype(object).map(str, na_action="ignore")
        for f in schema.features
    }
    return schema.select(pd.DataFrame(columns, index=rows.index))


def _separable(features: pd.DataFrame, package: Package) -> pd.DataFrame:
    """Return the domain classifier's input: no time, which is new in every row, and texts embedded."""
    types = {field.name: field.type for field in package.schema.features}
    if "text" in types.values():
        return _embedded(features, package)
    return features[[name for name, kind in types.items() if kind != "time"]]


def _embedded(features: pd.DataFrame, package: Package) -> pd.DataFrame:
    from ratchet.model.embedding import embed

    return embed(package.model.named_steps["embed"], features, package.schema)


def _batches(path: Path, names: Sequence[str]) -> Iterator[pd.DataFrame]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, buffer_size=_READ_AHEAD, pre_buffer=False) as file:
        known = [name for name in names if name in file.schema_arrow.names]
        for batch in file.iter_batches(_BATCH_ROWS, columns=known):
            yield batch.to_pandas()
