"""A version's model, and the rows that it was trained and evaluated on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.config.files import parse_config
from ratchet.data.schema import Schema
from ratchet.data.snapshots import load_snapshot, remaining_version
from ratchet.errors import DataError, RegistryError
from ratchet.model.package.sealed_package import Package
from ratchet.model.train_holdout import load_train_holdout
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.model_version import Version
from ratchet.settings import Settings
from ratchet.tracking import run_record

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class VersionRows:
    """A version with its package, and its training and held-out rows, each with features and target."""

    version: Version
    package: Package
    train: pd.DataFrame
    holdout: pd.DataFrame

    @property
    def model(self) -> Pipeline:
        """The fitted pipeline."""
        return self.package.model

    @property
    def schema(self) -> Schema:
        """The model's features and target."""
        return self.package.schema


def load_version_rows(settings: Settings, version: Version) -> VersionRows:
    """Download a version, checked against its digest, and load its rows.

    Raises
    ------
    RegistryError, PackageError: the version is unavailable, or is not what was registered.
    DataError: its rows are unavailable, or have changed.
    """
    train, holdout = training_rows(settings, version)
    package = fetch_package(settings, version)
    return VersionRows(version, package, train, holdout)


def training_rows(settings: Settings, version: Version) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a version's training rows and held-out rows, by its lineage, without those that were forgotten.

    Raises
    ------
    RegistryError: its run cannot be read, or has no config.
    DataError: the data set or the snapshot is missing, or has changed.
    """
    name = f"{version.model} version {version.version}"
    found = run_record(settings, version.run_id).config
    if not found:
        raise RegistryError(f"{name} has no config in its run: its rows are unknown")
    config = parse_config(found, f"the config of {name}")
    snapshot = version.lineage.get("snapshot")
    if snapshot:
        train, holdout, *_ = load_snapshot(settings, config, remaining_version(settings, snapshot))
        return train, holdout
    data = load_train_holdout(config.dataset, config.split, config.task, config.seed)
    expected = version.lineage.get("data_version", data.data_version)
    if data.data_version != expected:
        raise DataError(
            f"{name} was trained on data {expected}, the data set is now {data.data_version}: restore the old file, or"
            " train again"
        )
    return data.train, data.holdout
