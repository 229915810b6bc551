"""The one file that stands for a frame: CSV bytes that every machine writes alike, and their MD5, as DVC records it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from ratchet.errors import DataError


def canonical_csv(frame: pd.DataFrame) -> bytes:
    """A frame as CSV in UTF-8: a header, no index, lines that end with a line feed, floats in their shortest form.

    Parameters
    ----------
    frame: shape (rows, columns).
    """
    return frame.to_csv(index=False, lineterminator="\n").encode()


def frame_version(frame: pd.DataFrame) -> str:
    """The MD5 of ``canonical_csv``: what DVC records for the file that ``materialise`` writes."""
    return hashlib.md5(canonical_csv(frame), usedforsecurity=False).hexdigest()


def file_version(path: Path) -> str:
    """Return the MD5 of a file's bytes, as DVC records it.

    Raises
    ------
    DataError: the file cannot be read.
    """
    try:
        return _file_digest(path, "md5")
    except OSError as error:
        raise DataError(f"dataset.path {path}: {error.strerror}{_how_to_get(path)}") from None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    return _file_digest(path, "sha256")


def _file_digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _how_to_get(path: Path) -> str:
    """Say how to get a file that DVC tracks and this checkout lacks."""
    tracked = path.with_name(f"{path.name}.dvc")
    return f"; DVC knows it: run dvc pull {tracked}" if tracked.is_file() and not path.exists() else ""
