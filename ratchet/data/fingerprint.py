"""The one file that stands for a frame: CSV bytes that every machine writes alike, and their MD5, as DVC records it."""

from __future__ import annotations

import hashlib

import pandas as pd


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
