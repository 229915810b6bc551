"""Bringing a registered version's package here, sealed as it was registered."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.packaging import Package, load_package
from ratchet.profile import Profile
from ratchet.registry import ProductionPointer, Version
from ratchet.tracking import download

if TYPE_CHECKING:
    from mlflow import MlflowClient


def fetch_package(client: MlflowClient, version: Version, folder: Path) -> Package:
    """Download a version and load it, checked against the digest recorded at registration.

    Parameters
    ----------
    client: the registry.
    version: which one.
    folder: where to; made if it is not there.

    Raises
    ------
    RegistryError: the artifacts cannot be read.
    PackageError: they are not what was registered.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return load_package(download(client, version.model, version.version, folder), version.digest)


def reference_profile(client: MlflowClient, model: str) -> tuple[Profile | None, str | None]:
    """The profile of the rows that the champion was trained on, and its version; Nones where there is no champion."""
    version = ProductionPointer(client, model).current()
    if version is None:
        return None, None
    with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
        return fetch_package(client, version, Path(folder)).profile, version.version
