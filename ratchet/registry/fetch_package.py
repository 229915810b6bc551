"""Bringing a registered version's package here, sealed as it was registered."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ratchet.model.package.sealed_package import Package, load_package, verify_package
from ratchet.registry.model_version import Mirror, Version
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import connect, download


def fetch_package(settings: Settings, version: Version) -> Package:
    """Download a version and load it, checked against the digest recorded at registration.

    Raises
    ------
    RegistryError: the artifacts cannot be read.
    PackageError: they are not what was registered.
    """
    with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
        return load_package(download(connect(settings), version.model, version.version, Path(folder)), version.digest)


def reference_package(settings: Settings, model: str) -> tuple[Package | None, str | None]:
    """Return the champion's package and its version; Nones without a champion."""
    version = ProductionPointer(settings, model).current()
    return (None, None) if version is None else (fetch_package(settings, version), version.version)


def verify_version(settings: Settings, version: Version) -> None:
    """Bring a version here, check it against its digest, and have it reproduce its golden predictions.

    Raises
    ------
    RegistryError, PackageError: it cannot be had, is not what was registered, or says something else now.
    """
    verify_package(fetch_package(settings, version))


def production_pointer(settings: Settings, model: str, mirrors: Sequence[Mirror] = ()) -> ProductionPointer:
    """The pointer as people and services use it: it verifies a version's package before it moves to it."""
    return ProductionPointer(settings, model, lambda version: verify_version(settings, version), mirrors)
