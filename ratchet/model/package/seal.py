"""The seal of a package: the SHA-256 of each of its files. Checking it needs none of the libraries of the model."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from ratchet.errors import PackageError

MANIFEST = "manifest.json"
# The name and number of a version, which MLflow writes into its folder when it loads the version by its name.
_OF_MLFLOW = "registered_model_meta"


class OnnxReport(BaseModel):
    """Result of an ONNX export.

    Attributes
    ----------
    exported: whether the package holds ``model.onnx``, which agreed with scikit-learn on the reference rows.
    reason: why it holds none.
    max_difference: of probabilities (absolute) or predictions (relative) on the reference rows.
    """

    model_config = ConfigDict(frozen=True)

    exported: bool
    reason: str = ""
    max_difference: float | None = None


class Manifest(BaseModel):
    """SHA-256 of every file by name, and the result of the ONNX export."""

    model_config = ConfigDict(frozen=True)

    files: dict[str, str]
    onnx: OnnxReport


def verify_files(folder: Path, digest: str) -> Manifest:
    """Check the manifest against the digest, every file against the manifest, and that there is nothing else.

    Raises
    ------
    PackageError: a file is missing, differs, or is not in the manifest; the message has the first one.
    """
    seal = folder / MANIFEST
    if not seal.is_file():
        raise PackageError(f"{seal}: missing; the folder is no package, or was damaged")
    if _sha256(seal) != digest:
        raise PackageError(f"{seal}: differs from the digest recorded at registration; the package was tampered with")
    manifest = Manifest.model_validate_json(seal.read_text())
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise PackageError(f"{path}: missing from the package")
        if _sha256(path) != expected:
            raise PackageError(f"{path}: differs from the manifest; the file was tampered with or damaged")
    _refuse_unsealed(folder, {MANIFEST, _OF_MLFLOW, *manifest.files})
    return manifest


def _refuse_unsealed(folder: Path, sealed: set[str]) -> None:
    """Refuse files, folders and links that are not in the seal, and links in place of those that are."""
    folders = {parent.as_posix() for name in sealed for parent in PurePosixPath(name).parents}
    for found in (folder, *sorted(folder.rglob("*"))):
        name = found.relative_to(folder).as_posix()
        if found.is_symlink() or name not in (folders if found.is_dir() else sealed):
            raise PackageError(f"{found}: is not in the manifest, or is a link; something was added to the package")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
