"""Content hashes of files and frames. A frame has the hash of its canonical CSV, which is the same on every machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from ratchet.errors import DataError


def canonical_csv(frame: pd.DataFrame) -> bytes:
    """Return a frame as CSV in UTF-8: a header, no index, line feeds, floats in their shortest form."""
    return frame.to_csv(index=False, lineterminator="\n").encode()


def frame_version(frame: pd.DataFrame) -> str:
    """Return the MD5 of ``canonical_csv``, which DVC records for the file that ``materialise`` writes."""
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
        raise DataError(f"dataset.path {path}: {error.strerror}{_hint(path)}") from None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    return _file_digest(path, "sha256")


def _file_digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _hint(path: Path) -> str:
    tracked = path.with_name(f"{path.name}.dvc")
    return f"; DVC tracks it: run dvc pull {tracked}" if tracked.is_file() and not path.exists() else ""
