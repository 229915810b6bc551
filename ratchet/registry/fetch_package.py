"""Download and verification of registered packages."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.registry.model_version import Mirror, Version
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.registry.verified_packages import is_verified, note_verified
from ratchet.settings import Settings
from ratchet.tracking import download

if TYPE_CHECKING:
    from ratchet.model.package.sealed_package import Package


def fetch_package(settings: Settings, version: Version) -> Package:
    """Download and load a version's package, checked against the digest recorded at registration.

    Raises
    ------
    RegistryError: the artifacts cannot be read.
    PackageError: they are not what was registered.
    """
    from ratchet.model.package.sealed_package import load_package

    with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
        return load_package(download(settings, version.model, version.version, Path(folder)), version.digest)


def reference_package(settings: Settings, model: str) -> tuple[Package | None, str | None]:
    """Return the champion's package and version number; ``(None, None)`` without a champion."""
    version = ProductionPointer(settings, model).current()
    return (None, None) if version is None else (fetch_package(settings, version), version.version)


def production_pointer(settings: Settings, model: str, mirrors: Sequence[Mirror] = ()) -> ProductionPointer:
    """Return a pointer that verifies a version's digest and golden predictions before it changes to it."""
    return ProductionPointer(settings, model, partial(verify, settings), mirrors)


def verify(settings: Settings, version: Version) -> None:
    """Check the files of a version's package, and that it reproduces its golden predictions.

    Loading a model and predicting takes seconds. They are left out where this installation has done so before with
    the same files, libraries and code.

    Raises
    ------
    RegistryError: the artifacts cannot be read.
    PackageError: they are not what was registered, or the predictions differ.
    """
    if is_verified(settings, version):
        return
    from ratchet.model.package.sealed_package import verify_package

    verify_package(fetch_package(settings, version))
    note_verified(settings, version.digest)
