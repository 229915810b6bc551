"""Packages that have reproduced their golden predictions in this home, and with which libraries.

A record says nothing about files: they are compared with the digest of the registry each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.model.package.seal import verify_files
from ratchet.private_files import create_folder
from ratchet.tracking.artifacts import local_path
from ratchet.tracking.lineage import library_versions
from ratchet.tracking.reader import open_reader

if TYPE_CHECKING:
    from ratchet.registry.model_version import Version
    from ratchet.settings import Settings

_LIBRARY = Path(__file__).resolve().parent.parent
# The code that loads a package and predicts with it.
_CODE = ("data", "model")


def is_verified(settings: Settings, version: Version) -> bool:
    """Return whether a package on this machine reproduced its golden predictions before; its files are checked now.

    Raises
    ------
    RegistryError: MLflow cannot be read.
    PackageError: a file is missing, differs, or was added.
    """
    record = _record(settings, version.digest)
    if not version.digest or not record.is_file() or record.read_text() != _environment():
        return False
    folder = local_path(open_reader(settings).location(version.model, version.version) or "")
    if folder is None or not folder.is_dir():
        return False
    verify_files(folder, version.digest)
    return True


def note_verified(settings: Settings, digest: str) -> None:
    """Record that a package reproduced its golden predictions; without a record it is only loaded again."""
    from ratchet.data.atomic_write import write_whole

    record = _record(settings, digest)
    with contextlib.suppress(OSError):
        create_folder(record.parent)
        write_whole(record, lambda path: path.write_text(_environment()))


def _record(settings: Settings, digest: str) -> Path:
    return settings.home / "verified" / f"{digest}.json"


def _environment() -> str:
    """Return what determines the predictions of a package besides its files, as JSON."""
    code = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((_LIBRARY / folder).rglob("*.py")):
            code.update(path.read_bytes())
    machine = {"machine": platform.machine(), "node": platform.node(), "code": code.hexdigest()}
    return json.dumps(library_versions() | machine)
