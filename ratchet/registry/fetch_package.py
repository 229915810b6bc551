"""Bringing a registered version's package here, sealed as it was registered."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.model.package.sealed_package import Package, load_package, verify_package
from ratchet.registry.model_version import Mirror, Version
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import connect, download

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


def reference_package(settings: Settings, model: str) -> tuple[Package | None, str | None]:
    """The champion as it was loaded, and its version; Nones where there is no champion.

    Its files are gone when this returns: ``path`` and ``onnx_path`` lead nowhere.
    """
    version = ProductionPointer(settings, model).current()
    if version is None:
        return None, None
    with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
        return fetch_package(connect(settings), version, Path(folder)), version.version


def verify_version(settings: Settings, version: Version) -> None:
    """Bring a version here, check it against its digest, and have it reproduce its golden predictions.

    Raises
    ------
    RegistryError, PackageError: it cannot be had, is not what was registered, or says something else now.
    """
    with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
        verify_package(fetch_package(connect(settings), version, Path(folder)))


def production_pointer(settings: Settings, model: str, mirrors: Sequence[Mirror] = ()) -> ProductionPointer:
    """The pointer as people and services use it: it verifies a version's package before it moves to it."""
    return ProductionPointer(settings, model, lambda version: verify_version(settings, version), mirrors)
