"""Snapshots: the rows of one continuous-training run, as a file that is never changed.

A snapshot is a Parquet file named by the MD5 of its bytes, as DVC names a file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import Column, Dataset
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.data import dvc_remote
from ratchet.data.atomic_write import write_whole
from ratchet.data.fingerprint import file_version
from ratchet.data.schema import Schema, check_frame
from ratchet.errors import DataError, StateError
from ratchet.settings import Settings, prepare_home

# The column that names a row's part; no column of a data set may have this name.
PART = "__part__"
PARTS = ("reference_train", "production_train", "reference_holdout", "production_holdout")


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
    is_train = frame[PART].isin(PARTS[:2]).to_numpy()
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
    parts = {part: int(counts.get(part, 0)) for part in PARTS}
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
        dvc_remote.push(root, settings.dvc_remote, snapshot_path(settings, version), version)


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
    dvc_remote.fetch(root, settings.dvc_remote, version, path)
    return path


def snapshot_path(settings: Settings, version: str) -> Path:
    """Where a snapshot is kept."""
    return settings.home / "snapshots" / f"{version}.parquet"


def write_snapshot(settings: Settings, frame: pd.DataFrame) -> str:
    """Write the rows of a snapshot under the hash of their bytes; return the hash.

    Parameters
    ----------
    settings: the home that it is written to.
    frame: features, target and ``PART``.

    Raises
    ------
    StateError: the home cannot be written.
    """
    folder = prepare_home(settings) / "snapshots"
    content = frame.to_parquet(index=False)
    version = hashlib.md5(content, usedforsecurity=False).hexdigest()
    try:
        folder.mkdir(exist_ok=True)
        write_whole(snapshot_path(settings, version), lambda path: path.write_bytes(content), mode=0o600)
    except OSError as error:
        raise StateError(f"the snapshot of training rows cannot be written to {folder}: {error.strerror}") from None
    return version


def _rules(dataset: Dataset, rows: pd.DataFrame) -> Dataset:
    """The rules of the columns that are left; a category stays one, also where production sends numbers as text."""
    columns = {name: rule for name, rule in dataset.columns.items() if name in rows}
    for name in rows.columns.drop(dataset.target):
        rule = columns.get(name, Column())
        if not pd.api.types.is_numeric_dtype(rows[name]) and name != dataset.time and rule.type not in ("text", "time"):
            columns[name] = rule.model_copy(update={"type": "category"})
    return dataset.model_copy(update={"drop": (), "columns": columns})
