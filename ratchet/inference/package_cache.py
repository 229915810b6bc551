"""Packages kept on this machine, so that several workers download a version once and can restart without the registry.

A package is found by its digest, and checked against it at every load: what lies here is not trusted for lying here.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ratchet.errors import PackageError, RatchetError
from ratchet.inference.runtime import Runtime, load_runtime
from ratchet.model.package.sealed_package import verify_files
from ratchet.registry.model_version import Version
from ratchet.settings import Settings, prepare_home
from ratchet.tracking import connect, download, run_record
from ratchet.tracking.lineage import PREFIX

_KEPT = 5
_DETAILS = "details.json"
_LOCK_TIMEOUT = 120.0


class PackageCache:
    """The packages of one home.

    Parameters
    ----------
    settings: where the home and MLflow are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.home / "packages"

    def load(self, version: Version) -> Runtime:
        """A version as a runtime, downloaded unless it is here.

        Raises
        ------
        RegistryError: it has to be downloaded, and the registry cannot be read.
        PackageError: it is damaged, not trusted, or says something else than when it was made.
        StateError: the home cannot be written.
        """
        return self.load_kept(version.model, version.version, version.digest, self._fetch(version))

    def load_kept(self, model: str, version: str, digest: str, folder: Path | None = None) -> Runtime:
        """A version that was loaded here before, without asking the registry.

        Raises
        ------
        PackageError: it is not here, or damaged, or says something else than when it was made.
        """
        folder = folder or self._root / digest
        details = _read_details(folder)
        return load_runtime(
            folder / "package",
            digest,
            model=model,
            version=version,
            most_rows=self._settings.max_batch_rows,
            details=details,
        )

    def _fetch(self, version: Version) -> Path:
        from filelock import FileLock, Timeout

        prepare_home(self._settings)
        target = self._root / version.digest
        try:
            self._root.mkdir(exist_ok=True)
            with FileLock(self._root / "download.lock", timeout=_LOCK_TIMEOUT):
                if not _whole(target, version.digest):
                    self._download(version, target)
                target.touch()
                self._forget_old()
        except Timeout:
            raise PackageError(f"{target}: another process has been downloading for over {_LOCK_TIMEOUT:g} s") from None
        except OSError as error:
            raise PackageError(f"{target}: cannot be written: {error.strerror}") from None
        return target

    def _download(self, version: Version, target: Path) -> None:
        scratch = Path(tempfile.mkdtemp(dir=self._root, prefix=".partial-"))
        try:
            folder = download(connect(self._settings), version.model, version.version, scratch)
            verify_files(folder, version.digest)
            folder.rename(scratch / "package")
            (scratch / _DETAILS).write_text(json.dumps(_details(self._settings, version)))
            shutil.rmtree(target, ignore_errors=True)
            (target).mkdir()
            for path in (scratch / _DETAILS, scratch / "package"):
                path.rename(target / path.name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _forget_old(self) -> None:
        """A loaded package needs no files, so that older ones may go."""
        kept = [path for path in self._root.iterdir() if path.is_dir() and not path.name.startswith(".")]
        for path in sorted(kept, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
            shutil.rmtree(path, ignore_errors=True)


def _whole(target: Path, digest: str) -> bool:
    if not target.is_dir():
        return False
    try:
        verify_files(target / "package", digest)
    except PackageError:
        return False
    return True


def _details(settings: Settings, version: Version) -> dict[str, Any]:
    lineage = {k.removeprefix(PREFIX): v for k, v in version.tags.items() if k.startswith(PREFIX)}
    libraries = {
        key.removeprefix("version."): lineage.pop(key) for key in sorted(lineage) if key.startswith("version.")
    }
    try:
        metrics = run_record(settings, version.run_id).quality
    except RatchetError:  # a model answers without its figures too
        metrics = {}
    return {"mlflow_run_id": version.run_id, "lineage": lineage, "libraries": libraries, "metrics": metrics}


def _read_details(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / _DETAILS).read_text())
    except (OSError, ValueError):
        return {}
    return found
