"""Files of runs and registered versions; those on this machine are read without importing MLflow."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ratchet.errors import RegistryError, one_line
from ratchet.tracking.connection import connect
from ratchet.tracking.reader import open_reader

if TYPE_CHECKING:
    from ratchet.settings import Settings


def download(settings: Settings, model: str, version: str, to: Path, files: Sequence[str] = ()) -> Path:
    """Copy a registered version's package, or some of its files, into a local folder; return the package's folder.

    Raises
    ------
    RegistryError: the version was deleted, or its artifacts cannot be read.
    """
    what = f"the artifacts of {model} version {version}"
    uri = open_reader(settings).location(model, version)
    if uri is None:
        raise RegistryError(f"{what} cannot be read: {model} has no version {version!r}")
    if not files:
        return _copied(settings, uri, to, what)
    for name in files:
        _copied(settings, f"{uri}/{name}", to, what)
    return to


def read_text(settings: Settings, folder: str, name: str) -> str:
    """Return the text of a file in an artifact folder, such as that of a run.

    Raises
    ------
    RegistryError: it cannot be read.
    """
    local = local_path(folder)
    try:
        if local is not None:
            return (local / name).read_text(encoding="utf-8")
        import mlflow

        connect(settings)
        return str(mlflow.artifacts.load_text(f"{folder}/{name}"))
    except Exception as error:  # MLflow, and the client of each kind of artifact store, have errors of their own
        raise RegistryError(f"{folder}/{name} cannot be read: {one_line(error)}") from None


def local_path(uri: str) -> Path | None:
    """Return the path of an artifact on this machine; None for any other."""
    if uri.startswith("/"):
        return Path(uri)
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" and parts.netloc in ("", "localhost") else None


def _copied(settings: Settings, uri: str, to: Path, what: str) -> Path:
    """Copy an artifact into a folder, and return the copy."""
    local = local_path(uri)
    try:
        if local is None:
            from mlflow.artifacts import download_artifacts

            client = connect(settings)
            return Path(download_artifacts(artifact_uri=uri, dst_path=str(to), tracking_uri=client.tracking_uri))
        target = to / local.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if local.is_dir():
            shutil.copytree(local, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(local, target)
    except Exception as error:  # as in ``read_text``
        raise RegistryError(f"{what} cannot be read: {one_line(error)}") from None
    return target
