"""Packages cached on this machine: workers download a version once, and restart while the registry is down.

A package is found by its digest, and verified with it on every load. The details of its run, which were recorded at the
download, have a checksum without a key: it finds damage, and not a deliberate change by a user who can write the home.
The service shows the details, and makes no prediction with them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ratchet.errors import PackageError, RatchetError, StateError
from ratchet.inference.runtime import Runtime, load_runtime
from ratchet.model.package.seal import verify_files
from ratchet.private_files import create_folder, restrict_tree
from ratchet.registry.model_version import Version
from ratchet.settings import Settings, prepare_home
from ratchet.tracking import download, run_record
from ratchet.tracking.lineage import whole_lineage

# Number of packages that stay in the cache.
_KEPT = 5
_DETAILS = "details.json"
_PACKAGE = "package"
_PARTIAL = ".partial-"
_LOCK_TIMEOUT = 120.0
_UNSEALED = ("mlflow_run_id", "lineage", "libraries", "metrics")


class PackageCache:
    """The packages in one home."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.home / "packages"

    def load(self, version: Version) -> Runtime:
        """Load a version, and download it first if it is not cached.

        Raises
        ------
        RegistryError: it has to be downloaded, and the registry cannot be read.
        PackageError: it is damaged or not trusted, or fails its golden predictions.
        StateError: the home cannot be written.
        """
        self._fetch(version)
        return self.load_cached(version.model, version.version, version.digest)

    def load_cached(self, model: str, version: str, digest: str) -> Runtime:
        """Load a cached version without the registry.

        Raises
        ------
        PackageError: it is not cached, or is damaged, or fails its golden predictions.
        """
        folder = self._root / digest
        return load_runtime(
            folder / _PACKAGE,
            digest,
            model=model,
            version=version,
            most_rows=self._settings.max_batch_rows,
            most_bytes=self._settings.max_body_bytes,
            details=_read_details(folder, digest),
        )

    def unused(self, before: float, kept: Collection[str]) -> list[Path]:
        """Return the packages that were last loaded before an instant, except those of some digests.

        Parameters
        ----------
        before: seconds since the epoch.
        """
        if not self._root.is_dir():
            return []
        found = [path for path in self._packages() if path.name not in kept and path.stat().st_mtime < before]
        return sorted(found)

    def remove(self, packages: Sequence[Path]) -> None:
        """Remove packages, unless one is being downloaded.

        Raises
        ------
        StateError: another process has been downloading for over ``_LOCK_TIMEOUT`` seconds.
        """
        from filelock import FileLock, Timeout

        try:
            with FileLock(self._root / "download.lock", timeout=_LOCK_TIMEOUT):
                for path in packages:
                    shutil.rmtree(path, ignore_errors=True)
        except Timeout:
            raise StateError(
                f"{self._root}: another process has been downloading for over {_LOCK_TIMEOUT:g} s"
            ) from None

    def _fetch(self, version: Version) -> None:
        from filelock import FileLock, Timeout

        prepare_home(self._settings)
        target = self._root / version.digest
        try:
            create_folder(self._root)
            with FileLock(self._root / "download.lock", timeout=_LOCK_TIMEOUT):
                if not _is_intact(target, version.digest):
                    self._download(version, target)
                target.touch()
                self._remove_old()
        except Timeout:
            raise PackageError(f"{target}: another process has been downloading for over {_LOCK_TIMEOUT:g} s") from None
        except OSError as error:
            raise PackageError(f"{target}: cannot be written: {error.strerror}") from None

    def _download(self, version: Version, target: Path) -> None:
        partial = Path(tempfile.mkdtemp(dir=self._root, prefix=_PARTIAL))
        try:
            folder = download(self._settings, version.model, version.version, partial)
            verify_files(folder, version.digest)
            folder.rename(partial / _PACKAGE)
            details = _details(self._settings, version)
            sealed = {"seal": _checksum(details, version.digest), "details": details}
            (partial / _DETAILS).write_text(json.dumps(sealed))
            restrict_tree(partial)
            _remove(target)
            create_folder(target)
            for path in (partial / _DETAILS, partial / _PACKAGE):
                path.rename(target / path.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _remove_old(self) -> None:
        """Remove all but the newest packages, which workers that have loaded them no longer need; under the lock."""
        for partial in self._root.glob(f"{_PARTIAL}*"):  # of downloads that were killed
            shutil.rmtree(partial, ignore_errors=True)
        for path in sorted(self._packages(), key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
            shutil.rmtree(path, ignore_errors=True)

    def _packages(self) -> list[Path]:
        return [path for path in self._root.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_intact(target: Path, digest: str) -> bool:
    try:
        _read_details(target, digest)
        verify_files(target / _PACKAGE, digest)
    except PackageError:
        return False
    return True


def _details(settings: Settings, version: Version) -> dict[str, Any]:
    try:  # the model can be served without either
        lineage = whole_lineage(settings, version.run_id, version.tags)
    except RatchetError:
        lineage = version.lineage
    libraries = {
        key.removeprefix("version."): lineage.pop(key) for key in sorted(lineage) if key.startswith("version.")
    }
    try:
        metrics = run_record(settings, version.run_id).quality
    except RatchetError:
        metrics = {}
    return {"mlflow_run_id": version.run_id, "lineage": lineage, "libraries": libraries, "metrics": metrics}


def _checksum(details: dict[str, Any], digest: str) -> str:
    """Return the SHA-256 of the details together with the digest of their package."""
    return hashlib.sha256(f"{digest} {json.dumps(details, sort_keys=True)}".encode()).hexdigest()


def _read_details(target: Path, digest: str) -> dict[str, Any]:
    """Return the details of a cached package.

    Raises
    ------
    PackageError: it is not cached, its details are damaged, or something was added.
    """
    path = target / _DETAILS
    if not path.is_file() or path.is_symlink():
        raise PackageError(f"{path}: missing; the package is not cached, or was damaged")
    added = sorted({found.name for found in target.iterdir()} - {_DETAILS, _PACKAGE})
    if added or target.is_symlink():
        raise PackageError(f"{target / ''.join(added[:1])}: is no part of a cached package, or is a link")
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        if "seal" not in found:  # written by an earlier release
            return {name: found[name] for name in _UNSEALED}
        details: dict[str, Any] = found["details"]
    except (OSError, ValueError, TypeError, KeyError):
        raise PackageError(f"{path}: cannot be read; the file was damaged") from None
    if found["seal"] != _checksum(details, digest):
        raise PackageError(f"{path}: differs from its checksum; the file was damaged")
    return details
