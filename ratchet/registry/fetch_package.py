"""Download and verification of registered packages."""

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
    """Download and load a version's package, checked against the digest recorded at registration.

    Raises
    ------
    RegistryError: the artifacts cannot be read.
    PackageError: they are not what was registered.
    """
    with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
        return load_package(download(connect(settings), version.model, version.version, Path(folder)), version.digest)


def reference_package(settings: Settings, model: str) -> tuple[Package | None, str | None]:
    """Return the champion's package and version number; ``(None, None)`` without a champion."""
    version = ProductionPointer(settings, model).current()
    return (None, None) if version is None else (fetch_package(settings, version), version.version)


def production_pointer(settings: Settings, model: str, mirrors: Sequence[Mirror] = ()) -> ProductionPointer:
    """Return a pointer that verifies a version's digest and golden predictions before it changes to it."""
    return ProductionPointer(settings, model, lambda version: verify_package(fetch_package(settings, version)), mirrors)
