"""Whether new rows still look like those a model was trained on.

The reference is the profile that travels with the model, and the new rows are counted into its cells, so that a
verdict needs neither the training rows nor any labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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
from ratchet.monitoring.drift.domain_classifier import Verdict, tell_apart
from ratchet.monitoring.drift.notes import notes_on, notes_on_package
from ratchet.monitoring.drift.verdicts import FEWEST_ROWS, ColumnDrift, judge

if TYPE_CHECKING:
    from ratchet.model.package.sealed_package import Package

_BATCH_ROWS = 2**17
# Bytes of a column read at a time; by default Arrow reads whole row groups, which may be the whole file.
_READ_AHEAD = 2**20


class DriftReport(BaseModel):
    """The verdict on some rows.

    Attributes
    ----------
    reference: the model version whose profile was the reference; None where there was none yet.
    figures: the drift figure of each feature.
    drifted: the features over the threshold, and beyond chance.
    share: drifted features divided by all.
    detected: whether ``share`` reaches the config's limit, the predictions drifted, or the domain classifier tells
        the rows from training rows.
    n_rows: rows that were compared.
    level: what a p-value has to keep: the config's alpha, divided among the groups that were tested.
    p_values: of each feature, after Benjamini–Hochberg.
    embedded: the columns of the embedder's output; they explain, and do not decide.
    predictions: the predicted label or number, as one column.
    domain_auc, domain_p: of the domain classifier; None where it was left out.
    domain_drifted: whether it tells the rows from training rows.
    notes: what else a person should know, a line each.
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
    def summary(self) -> str:
        """One line for a person."""
        if self.reference is None:
            return "no reference yet"
        verdict = "drift" if self.detected else "no drift"
        said = [f"{len(self.drifted)} of {len(self.figures)} features over the limit"]
        said += ["the predictions drifted"] if any(column.drifted for column in self.predictions) else []
        said += [f"told from training rows with AUC {self.domain_auc:.2f}"] if self.domain_drifted else []
        return f"{verdict} against version {self.reference}: {', '.join(said)}"


def compare(rows: pd.DataFrame, reference: Profile | None, config: Drift, version: str | None) -> DriftReport:
    """Compare rows with a reference profile.

    Parameters
    ----------
    rows: shape (rows, >= features).
    reference: the champion's profile; None where there is no champion.
    config: the ``drift`` section.
    version: the champion's version, for the report.
    """
    return compare_batches([rows], reference, config, version)


def compare_batches(
    batches: Iterable[pd.DataFrame], reference: Profile | None, config: Drift, version: str | None
) -> DriftReport:
    """Compare rows that come in parts, in the memory of one part.

    Parameters
    ----------
    batches: frames of shape (any, >= features).
    reference, config, version: as for ``compare``.
    """
    if reference is None:
        return DriftReport(reference=None, method=config.method)
    points = config.method == "ks"
    window = no_rows(reference.features, points=points)
    for batch in batches:
        window += count(batch, reference.features, points=points)
    return _report(_Window(window), reference, config, version)


def compare_parquet(
    path: Path, reference: Profile | None, config: Drift, version: str | None, batch_rows: int = _BATCH_ROWS
) -> DriftReport:
    """Compare the rows of a Parquet file, however large.

    Parameters
    ----------
    path: the file; its columns that are no features are not read.
    reference, config, version: as for ``compare``.
    batch_rows: rows in memory at a time.
    """
    names = [feature.name for feature in reference.features] if reference else []
    return compare_batches(_batches(path, names, batch_rows), reference, config, version)


def compare_window(
    rows: pd.DataFrame,
    predictions: Sequence[Any] | None,
    package: Package | None,
    config: Drift,
    version: str | None,
) -> DriftReport:
    """Compare rows, what a model makes of them and what it says of them with its training rows.

    Parameters
    ----------
    rows: records as they came, shape (rows, >= features); numbers may be integers, and None a gap.
    predictions: what the service answered, a label or number a row; None has the model predict again.
    package: the model, as it was loaded; None where there is none yet.
    config: the ``drift`` section.
    version: the model's version, for the report.
    """
    if package is None:
        return DriftReport(reference=None, method=config.method)
    profile = package.profile
    inputs = count(rows, profile.features, points=config.method == "ks")
    window = _Window(inputs, notes=tuple(notes_on_package(package)))
    if inputs.n_rows >= FEWEST_ROWS and len(inputs.columns) == len(profile.features):
        window = _look_through(package, _typed(rows, package.schema), predictions, config, window)
    return _report(window, profile, config, version)


@dataclass(frozen=True)
class _Window:
    """All that is known of the new rows; what was left out is None."""

    inputs: Counts
    embedded: Counts | None = None
    predictions: Counts | None = None
    domain: Verdict | None = None
    notes: tuple[str, ...] = ()


def _look_through(
    package: Package, features: pd.DataFrame, predictions: Sequence[Any] | None, config: Drift, window: _Window
) -> _Window:
    """Add what the model makes of the rows, as far as the package has something to compare it with."""
    profile, points = package.profile, config.method == "ks"
    if profile.embedded:
        window = replace(window, embedded=count(_embedded(features, package), profile.embedded, points=points))
    if profile.predictions:
        said = package.model.predict(features) if predictions is None else predictions
        frame = pd.DataFrame({PREDICTION: np.asarray(said).tolist()})
        window = replace(window, predictions=count(frame, profile.predictions, points=points))
    if config.domain_auc is not None and package.sample is not None and len(package.sample) >= FEWEST_ROWS:
        known, new = _to_tell_apart(package.sample, package), _to_tell_apart(features, package)
        window = replace(window, domain=tell_apart(known, new) if known.shape[1] else None)
    return window


def _report(window: _Window, profile: Profile, config: Drift, version: str | None) -> DriftReport:
    groups = (window.inputs, window.embedded, window.predictions, window.domain)
    level = config.alpha / sum(group is not None for group in groups)
    inputs = judge(window.inputs, profile.features, config, level)
    embedded = judge(window.embedded, profile.embedded, config, level)
    predictions = judge(window.predictions, profile.predictions, config, level)
    told_apart = _told_apart(window.domain, config, level)
    drifted = tuple(column.name for column in inputs if column.drifted)
    share = len(drifted) / len(inputs) if inputs else 0.0
    return DriftReport(
        reference=version,
        method=config.method,
        figures={column.name: column.figure for column in inputs},
        drifted=drifted,
        share=share,
        detected=share >= config.share or any(column.drifted for column in predictions) or told_apart,
        n_rows=window.inputs.n_rows,
        level=level,
        p_values={column.name: column.p_value for column in inputs},
        embedded=embedded,
        predictions=predictions,
        domain_auc=window.domain and window.domain.auc,
        domain_p=window.domain and window.domain.p_value,
        domain_drifted=told_apart,
        notes=tuple(_notes(window, profile)),
    )


def _told_apart(domain: Verdict | None, config: Drift, level: float) -> bool:
    if domain is None or config.domain_auc is None:
        return False
    return domain.auc > config.domain_auc and domain.p_value <= level


def _notes(window: _Window, profile: Profile) -> Iterator[str]:
    n_rows = window.inputs.n_rows
    if n_rows < FEWEST_ROWS:
        has = f"has {n_rows} rows, {FEWEST_ROWS} are needed" if n_rows else "is empty"
        yield f"the window {has}: nothing was compared"
    yield from notes_on(window.inputs, profile.features)
    if window.predictions:
        yield from notes_on(window.predictions, profile.predictions)
    yield from window.notes


def _typed(rows: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The features as the model takes them; a time that is not there is missing in every row."""
    columns: dict[str, Any] = {
        f.name: as_numbers(rows[f.name])
        if f.type == "number"
        else rows.get(f.name, pd.Series(index=rows.index, dtype=object)).astype(object).map(str, na_action="ignore")
        for f in schema.features
    }
    return schema.select(pd.DataFrame(columns, index=rows.index))


def _to_tell_apart(features: pd.DataFrame, package: Package) -> pd.DataFrame:
    """What the domain classifier sees: the features but a time, which is new in every row; texts as embedded."""
    types = {field.name: field.type for field in package.schema.features}
    if "text" in types.values():
        return _embedded(features, package)
    return features[[name for name, kind in types.items() if kind != "time"]]


def _embedded(features: pd.DataFrame, package: Package) -> pd.DataFrame:
    from ratchet.model.embedding import embed

    return embed(package.model.named_steps["embed"], features, package.schema)


def _batches(path: Path, names: Sequence[str], batch_rows: int) -> Iterator[pd.DataFrame]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, buffer_size=_READ_AHEAD, pre_buffer=False) as file:
        known = [name for name in names if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_rows, columns=known):
            yield batch.to_pandas()
