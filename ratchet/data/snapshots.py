"""Snapshots: the rows of one continuous-training run, in a Parquet file that never changes and is named by its MD5.

A snapshot with rows that a person had forgotten is replaced by one without these rows, and a file beside it says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import Dataset
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.data import dvc_remote
from ratchet.data.atomic_write import write_whole
from ratchet.data.fingerprint import file_version
from ratchet.data.row_identities import RowIdentities, contents_of, identify, prediction_ids
from ratchet.data.schema import Schema, check_frame
from ratchet.errors import DataError, StateError
from ratchet.private_files import FILE, create_folder
from ratchet.settings import Settings, prepare_home

CHECKOUT = Path(__file__).resolve().parents[2]
# The columns with the part of a row, and with its identity: the position in the reference data set, or the id of the
# prediction. No column of a data set may have these names.
PART, ROW = "__part__", "__row__"
# The attribute of the frame with the origin of the reference rows.
_SOURCE = "source"
PARTS = ("reference_train", "production_train", "reference_holdout", "production_holdout")
_PRODUCTION = (PARTS[1], PARTS[3])


class Snapshot(BaseModel):
    """The content of a snapshot.

    Attributes
    ----------
    version: the MD5 of the file.
    watermark: the number of the newest feedback in it; None where it is unknown.
    reference_version: the content hash of the reference data set; None where it is unknown.
    reference_train, production_train, reference_holdout, production_holdout: rows of each part.
    label_bias: why the held-out production rows are no evidence of quality; None if they are, or if it is not known.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    watermark: int | None
    reference_version: str | None
    reference_train: int
    production_train: int
    reference_holdout: int
    production_holdout: int
    label_bias: str | None = None

    @property
    def summary(self) -> str:
        """The rows of each part, in one line."""
        return (
            f"{self.reference_train} + {self.production_train} rows to train on (reference + production),"
            f" {self.reference_holdout} + {self.production_holdout} held out"
        )


class Redaction(BaseModel):
    """Why a snapshot is gone.

    Attributes
    ----------
    replaced_by: the snapshot of the remaining rows.
    rows: the number of forgotten rows.
    erasure: the number of the erasure in the ledger.
    """

    model_config = ConfigDict(frozen=True)

    replaced_by: str
    rows: int
    erasure: int


class LoadedSnapshot(NamedTuple):
    """The rows of a snapshot; in both parts the reference is first, then production."""

    train: pd.DataFrame
    holdout: pd.DataFrame
    schema: Schema
    train_identities: RowIdentities
    holdout_identities: RowIdentities


def load_snapshot(settings: Settings, config: ContinuousTrainingConfig, version: str) -> LoadedSnapshot:
    """Return a snapshot's training rows, its holdout, and its schema.

    Raises
    ------
    ConfigError, StateError: as ``fetch_snapshot``.
    DataError: neither the home nor the remote has it, it was changed, or its rows break a rule.
    """
    path = fetch_snapshot(settings, version)
    if file_version(path) != version:
        raise DataError(f"{path}: was changed since it was written: its hash differs from its name")
    frame = pd.read_parquet(path)
    rows = frame.drop(columns=[PART, ROW], errors="ignore")
    typed, schema = check_frame(rows, rules_for(config.dataset, rows), config.task)
    is_train = frame[PART].isin(PARTS[:2]).to_numpy()
    train, holdout = typed[is_train], typed[~is_train]
    return LoadedSnapshot(
        train=train.reset_index(drop=True),
        holdout=holdout.reset_index(drop=True),
        schema=schema,
        train_identities=_identities(frame[is_train], train, schema.target, version),
        holdout_identities=_identities(frame[~is_train], holdout, schema.target, version),
    )


def _identities(stored: pd.DataFrame, typed: pd.DataFrame, target: str, version: str) -> RowIdentities:
    """Return the identities of rows; in a snapshot without the column ``ROW``, the place in the snapshot is one."""
    if ROW not in stored:
        return identify(typed, target, f"snapshot {version}", stored.index)
    n_data = int(stored[PART].isin([PARTS[0], PARTS[2]]).sum())
    positions = stored[ROW].iloc[:n_data].astype(np.int64)
    reference = identify(typed.iloc[:n_data], target, stored.attrs[_SOURCE], positions)
    ids = np.concatenate([reference.ids, prediction_ids(stored[ROW].iloc[n_data:].tolist())])
    return RowIdentities(reference.source, ids, contents_of(typed, target), n_data)


def describe_snapshot(settings: Settings, version: str) -> Snapshot:
    """Return the content of an existing snapshot, without watermark and reference, which the file does not have.

    Raises
    ------
    ConfigError, DataError, StateError: as ``fetch_snapshot``.
    """
    counts = pd.read_parquet(fetch_snapshot(settings, version), columns=[PART])[PART].value_counts()
    parts = {part: int(counts.get(part, 0)) for part in PARTS}
    return Snapshot(version=version, watermark=None, reference_version=None, **parts)


def push_snapshot(settings: Settings, version: str) -> None:
    """Push a snapshot to the DVC remote of ``RATCHET_DVC_REMOTE``, if one is set; ``CHECKOUT`` configures it.

    Raises
    ------
    ConfigError: there is no such remote.
    StateError: the remote is unreachable or refuses.
    """
    if settings.dvc_remote:
        dvc_remote.push(CHECKOUT, settings.dvc_remote, snapshot_path(settings, version), version)


def fetch_snapshot(settings: Settings, version: str) -> Path:
    """Return the path of a snapshot in this home; fetch it from the DVC remote where it is missing.

    Everything that reads a snapshot calls it, since another machine may have written the snapshot.

    Raises
    ------
    ConfigError: there is no such remote.
    DataError: neither the home nor the remote has it, or some of its rows were forgotten.
    StateError: the remote is unreachable or refuses.
    """
    path = snapshot_path(settings, version)
    if path.is_file():
        return path
    redaction = redaction_of(settings, version)
    if redaction is not None:
        raise DataError(
            f"the snapshot {version} is gone: {redaction.rows} of its rows were forgotten (erasure"
            f" {redaction.erasure}); the remaining rows are the snapshot {redaction.replaced_by}"
        )
    if not settings.dvc_remote:
        raise DataError(
            f"the snapshot {version} of training rows is not in this home ({path}); set RATCHET_DVC_REMOTE to the DVC"
            " remote that has it"
        )
    dvc_remote.fetch(CHECKOUT, settings.dvc_remote, version, path)
    return path


def snapshot_path(settings: Settings, version: str) -> Path:
    """Return the path of a snapshot, which may be missing."""
    return settings.home / "snapshots" / f"{version}.parquet"


def redaction_of(settings: Settings, version: str) -> Redaction | None:
    """Return why a snapshot is gone, with the newest snapshot of its remaining rows; None if no row was forgotten."""
    found: Redaction | None = None
    record = _redaction_path(settings, version)
    while record.is_file():
        read = Redaction.model_validate_json(record.read_text())
        found = read.model_copy(update={"rows": read.rows + (found.rows if found else 0)})
        record = _redaction_path(settings, found.replaced_by)
    return found


def remaining_version(settings: Settings, version: str) -> str:
    """Return the snapshot with the rows of a snapshot that were not forgotten, which is mostly the snapshot itself."""
    redaction = redaction_of(settings, version)
    return version if redaction is None else redaction.replaced_by


def production_rows(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame | None:
    """Return the rows of production in a snapshot's file, by the ids of their predictions.

    Parameters
    ----------
    columns: the features to read, as far as the snapshot has them.

    Returns
    -------
    None if the snapshot has such rows without the ids, as those of earlier releases.
    """
    import pyarrow.parquet as pq

    names = pq.read_schema(path).names
    wanted = [name for name in (PART, ROW, *columns) if name in names]
    frame = pd.read_parquet(path, columns=wanted)
    production = frame[frame[PART].isin(_PRODUCTION)].drop(columns=PART)
    if ROW not in names:
        return None if len(production) else production
    return production.set_index(ROW)


def redact_snapshot(settings: Settings, version: str, ids: Collection[str], erasure: int) -> str | None:
    """Replace a snapshot of this home by one without the rows of some predictions; return its hash.

    The DVC remote gets the new snapshot and loses the old one. An interrupted call is repeated.

    Returns
    -------
    None if the snapshot has none of the rows.

    Raises
    ------
    ConfigError: there is no such remote.
    StateError: the home or the remote cannot be written.
    """
    path, listed = snapshot_path(settings, version), list(ids)
    production = production_rows(path)
    if production is None or not production.index.isin(listed).any():
        return None
    frame = pd.read_parquet(path)
    forgotten = frame[PART].isin(_PRODUCTION) & frame[ROW].isin(listed)
    new = write_snapshot(settings, frame[~forgotten].reset_index(drop=True), frame.attrs[_SOURCE])
    push_snapshot(settings, new)
    if settings.dvc_remote:
        dvc_remote.delete(CHECKOUT, settings.dvc_remote, version)
    record = Redaction(replaced_by=new, rows=int(forgotten.sum()), erasure=erasure)
    try:
        content = record.model_dump_json().encode()
        write_whole(_redaction_path(settings, version), lambda target: target.write_bytes(content), mode=FILE)
        path.unlink()
    except OSError as error:
        raise StateError(f"{path}: cannot be replaced: {error.strerror}") from None
    return new


def _redaction_path(settings: Settings, version: str) -> Path:
    return snapshot_path(settings, version).with_suffix(".redacted.json")


def write_snapshot(settings: Settings, frame: pd.DataFrame, source: str) -> str:
    """Write a snapshot to the home; return its hash.

    Parameters
    ----------
    frame: features, target, ``PART`` and ``ROW``.
    source: the origin of the reference rows, as ``ratchet.data.row_identities.data_source`` returns it.

    Raises
    ------
    StateError: the home cannot be written.
    """
    folder = prepare_home(settings) / "snapshots"
    frame.attrs[_SOURCE] = source
    content = frame.to_parquet(index=False)
    version = hashlib.md5(content, usedforsecurity=False).hexdigest()
    try:
        create_folder(folder)
        write_whole(snapshot_path(settings, version), lambda path: path.write_bytes(content), mode=FILE)
    except OSError as error:
        raise StateError(f"the snapshot of training rows cannot be written to {folder}: {error.strerror}") from None
    return version


def rules_for(dataset: Dataset, rows: pd.DataFrame) -> Dataset:
    """Return the ``dataset`` section for the columns of a snapshot, which has no dropped ones."""
    columns = {name: rule for name, rule in dataset.columns.items() if name in rows}
    return dataset.model_copy(update={"drop": (), "columns": columns})
