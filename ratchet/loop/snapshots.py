"""The rows of one continuous-training run: the reference, and what production said up to a watermark.

A snapshot is one Parquet file named by the MD5 of its bytes, as DVC names a file, and is never changed. The same
reference, config and watermark give the same file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet import data_versions, datasets
from ratchet.config import Column, Dataset
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.datasets import Schema, row_hashes
from ratchet.datasets.files import file_version
from ratchet.datasets.schema import check_frame
from ratchet.errors import DataError, StateError
from ratchet.loop.production import LabelledRow, labels_up_to
from ratchet.settings import Settings, prepare_home
from ratchet.store import Store
from ratchet.tasks import TASKS
from ratchet.whole_files import write_whole

# Beside the features and the target; no column of a data set may be named so.
PART = "__part__"
_PARTS = ("reference_train", "production_train", "reference_holdout", "production_holdout")


class Snapshot(BaseModel):
    """What is in a snapshot.

    Attributes
    ----------
    version: the MD5 of the file.
    watermark: the number of the newest feedback in it; None where it is not known.
    reference_version: the content hash of the reference data set; None where it is not known.
    reference_train, production_train, reference_holdout, production_holdout: rows of each part.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    watermark: int | None
    reference_version: str | None
    reference_train: int
    production_train: int
    reference_holdout: int
    production_holdout: int

    @property
    def summary(self) -> str:
        """One line for a person."""
        return (
            f"{self.reference_train} + {self.production_train} rows to train on (reference + production),"
            f" {self.reference_holdout} + {self.production_holdout} held out"
        )


def build_snapshot(settings: Settings, config: ContinuousTrainingConfig, store: Store, watermark: int) -> Snapshot:
    """Write the snapshot of a watermark, unless it is there already.

    The reference is split as in training, so that its holdout is the one that the champion was not fitted on. The
    newest labelled rows of production are held out too: by their own time where the data set has one, else by that of
    their prediction. A row that is held out is
    in no training part, also where production has sent it a second time; and where production has sent a training row
    of the reference, it is not held out.

    Parameters
    ----------
    settings: the home that snapshots are kept in.
    config: data set, split, and the share of production that is held out.
    store: where the labels are.
    watermark: the number of the newest feedback to take.

    Raises
    ------
    DataError: the reference, or the rows together, break a rule of the config.
    """
    reference = datasets.load(config.dataset, config.task)
    train, holdout = TASKS[config.task].split(reference.frame, reference.schema, config.split, config.seed)
    production = as_frame(labels_up_to(store, config.model, watermark, config.production.most_rows), reference.schema)
    if reference.schema.time is not None:  # clients may send the past later than the present
        production = production.sort_values(reference.schema.time, kind="stable", ignore_index=True)
    newest = len(production) - int(len(production) * config.production.holdout)
    older, newer = production.iloc[:newest], _without(production.iloc[newest:], set(row_hashes(train).tolist()))
    held = set(row_hashes(holdout).tolist()) | set(row_hashes(newer).tolist())
    parts = dict(zip(_PARTS, (train, _without(older, held), holdout, newer), strict=True))
    frame = pd.concat([rows.assign(**{PART: part}) for part, rows in parts.items()], ignore_index=True)
    return Snapshot(
        version=_write(frame, settings),
        watermark=watermark,
        reference_version=reference.data_version,
        **{part: len(rows) for part, rows in parts.items()},
    )


def load_snapshot(
    settings: Settings, config: ContinuousTrainingConfig, version: str
) -> tuple[pd.DataFrame, pd.DataFrame, Schema]:
    """Read a snapshot back.

    Parameters
    ----------
    settings: the home that it is kept in.
    config: the rules that its columns have to keep.
    version: its hash.

    Returns
    -------
    The training rows, the holdout (the reference first, then production), and the schema of the training rows.

    Raises
    ------
    DataError: there is no such snapshot, it was changed, or its rows break a rule.
    """
    path = snapshot_path(settings, version)
    if not path.exists():
        raise DataError(f"{path}: there is no such snapshot in this home")
    if file_version(path) != version:
        raise DataError(f"{path}: was changed since it was written; its name is no longer its hash")
    frame = pd.read_parquet(path)
    rows = frame.drop(columns=PART)
    typed, schema = check_frame(rows, _rules(config.dataset, rows), config.task)
    is_train = frame[PART].isin(_PARTS[:2]).to_numpy()
    train, holdout = typed[is_train].reset_index(drop=True), typed[~is_train].reset_index(drop=True)
    return train, holdout, schema


def describe_snapshot(settings: Settings, version: str) -> Snapshot:
    """What is in a snapshot that was made earlier, as far as the file says: its watermark and reference it does not.

    Raises
    ------
    DataError: there is no such snapshot in this home.
    """
    path = snapshot_path(settings, version)
    if not path.exists():
        raise DataError(f"{path}: there is no such snapshot in this home")
    counts = pd.read_parquet(path, columns=[PART])[PART].value_counts()
    parts = {part: int(counts.get(part, 0)) for part in _PARTS}
    return Snapshot(version=version, watermark=None, reference_version=None, **parts)


def share_snapshot(settings: Settings, version: str, root: Path) -> None:
    """Put a snapshot on the DVC remote of ``RATCHET_DVC_REMOTE``; where none is set, do nothing.

    Parameters
    ----------
    settings: the home that it is kept in, and the remote's name.
    version: its hash.
    root: the project's checkout, which configures the remote.

    Raises
    ------
    ConfigError: there is no such remote.
    StateError: the remote does not answer, or refuses.
    """
    if settings.dvc_remote:
        data_versions.push(root, settings.dvc_remote, snapshot_path(settings, version), version)


def bring_snapshot(settings: Settings, version: str, root: Path) -> Path:
    """See that a snapshot is in this home: fetch it from the DVC remote where it is not.

    Parameters
    ----------
    settings, version, root: as for ``share_snapshot``.

    Returns
    -------
    Where it stands.

    Raises
    ------
    ConfigError: there is no such remote.
    DataError: it is neither here nor there.
    StateError: the remote does not answer, or refuses.
    """
    path = snapshot_path(settings, version)
    if path.is_file():
        return path
    if not settings.dvc_remote:
        raise DataError(
            f"the snapshot {version} of training rows is not in this home ({path}); set RATCHET_DVC_REMOTE to the DVC"
            " remote that it was pushed to"
        )
    data_versions.fetch(root, settings.dvc_remote, version, path)
    return path


def snapshot_path(settings: Settings, version: str) -> Path:
    """Where a snapshot is kept."""
    return settings.home / "snapshots" / f"{version}.parquet"


def as_frame(rows: list[LabelledRow], schema: Schema) -> pd.DataFrame:
    """Labelled rows of production in the columns and types of a data set.

    Parameters
    ----------
    rows: with a target each.
    schema: of the reference.

    Returns
    -------
    shape (rows, features + 1).
    """
    columns: dict[str, Any] = {}
    for field in schema.features:
        values = [row.features.get(field.name) for row in rows]
        columns[field.name] = pd.Series(values, dtype="float64" if field.type == "number" else object)
    kind = "float64" if schema.labels is None else "int64" if isinstance(schema.labels[0], int) else object
    columns[schema.target] = pd.Series([row.target for row in rows], dtype=kind)
    return pd.DataFrame(columns)


def _rules(dataset: Dataset, rows: pd.DataFrame) -> Dataset:
    """The rules of the columns that are left; a category stays one, also where production sends numbers as text."""
    columns = {name: rule for name, rule in dataset.columns.items() if name in rows}
    for name in rows.columns.drop(dataset.target):
        rule = columns.get(name, Column())
        if not pd.api.types.is_numeric_dtype(rows[name]) and name != dataset.time and rule.type not in ("text", "time"):
            columns[name] = rule.model_copy(update={"type": "category"})
    return dataset.model_copy(update={"drop": (), "columns": columns})


def _without(rows: pd.DataFrame, hashes: set[int]) -> pd.DataFrame:
    keep = [value not in hashes for value in row_hashes(rows).tolist()]
    return rows[keep]


def _write(frame: pd.DataFrame, settings: Settings) -> str:
    """Write rows under the hash of their bytes; the hash."""
    folder = prepare_home(settings) / "snapshots"
    content = frame.to_parquet(index=False)
    version = hashlib.md5(content, usedforsecurity=False).hexdigest()
    try:
        folder.mkdir(exist_ok=True)
        write_whole(snapshot_path(settings, version), lambda path: path.write_bytes(content), mode=0o600)
    except OSError as error:
        raise StateError(f"the snapshot of training rows cannot be written to {folder}: {error.strerror}") from None
    return version
