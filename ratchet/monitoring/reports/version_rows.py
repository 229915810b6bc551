"""A version, its model, and the rows that it was fitted on and measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.config import TaskName
from ratchet.config.files import parse_config
from ratchet.data.schema import Schema
from ratchet.data.snapshots import load_snapshot
from ratchet.errors import DataError, RegistryError
from ratchet.model.tasks import task_of
from ratchet.model.train_holdout import load_train_holdout
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.model_version import Version
from ratchet.settings import Settings
from ratchet.tracking import run_record
from ratchet.tracking.lineage import PREFIX

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class VersionRows:
    """A version with its rows.

    Attributes
    ----------
    version: which one.
    model: the pipeline, embedder and estimator in one.
    schema: what it takes.
    train: the rows that it was fitted on, features and target.
    holdout: the rows that it was measured on.
    """

    version: Version
    model: Pipeline
    schema: Schema
    train: pd.DataFrame
    holdout: pd.DataFrame

    @property
    def task(self) -> TaskName:
        """What the model does, which its schema says."""
        return task_of(self.schema).name


def load_version_rows(settings: Settings, version: Version) -> VersionRows:
    """Bring a version here, checked against its digest, with its rows.

    Raises
    ------
    RegistryError, PackageError: it cannot be had, or is not what was registered.
    DataError: its rows cannot be had as they were.
    """
    train, holdout = training_rows(settings, version)
    package = fetch_package(settings, version)
    return VersionRows(version, package.model, package.schema, train, holdout)


def training_rows(settings: Settings, version: Version) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that a version was fitted on, and those that it was measured on.

    Parameters
    ----------
    settings: where runs and snapshots are.
    version: which version; its lineage says where its rows came from.

    Raises
    ------
    RegistryError: its run cannot be read back, or has no config.
    DataError: the data set or the snapshot is gone, or is no longer what it was.
    """
    found = run_record(settings, version.run_id).config
    if not found:
        raise RegistryError(f"{version.model} version {version.version} has no config in its run: its rows are unknown")
    config = parse_config(found, f"the config of {version.model} version {version.version}")
    snapshot = version.tags.get(f"{PREFIX}snapshot")
    if snapshot:
        train, holdout, _ = load_snapshot(settings, config, snapshot)
        return train, holdout
    data = load_train_holdout(config.dataset, config.split, config.task, config.seed)
    expected = version.tags.get(f"{PREFIX}data_version", data.data_version)
    if data.data_version != expected:
        raise DataError(
            f"{version.model} version {version.version} was trained on data {expected}, the data set is"
            f" {data.data_version} by now: bring the old file back, or train again"
        )
    return data.train, data.holdout
