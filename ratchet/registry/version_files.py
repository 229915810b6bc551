"""Single files of the packages of versions, read without the rest of the package."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ratchet.data.row_identities import Hashes
from ratchet.data.schema import Schema
from ratchet.data.training_rows import TrainingRows
from ratchet.errors import RegistryError
from ratchet.registry.model_version import Version
from ratchet.settings import Settings
from ratchet.tracking import download


def readable_schema(settings: Settings, version: Version) -> Schema | None:
    """Return the schema of a version's rows; None if its package is gone."""
    with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
        try:
            package = download(settings, version.model, version.version, Path(folder), files=("schema.json",))
        except (RegistryError, OSError):
            return None
        return Schema.model_validate_json((package / "schema.json").read_text())


def trained_on(settings: Settings, versions: Iterable[Version], rows: Hashes) -> tuple[list[Version], list[Version]]:
    """Return the versions that were fitted on some rows of production, and those of which it is unknown.

    Parameters
    ----------
    rows: identities, as ``ratchet.data.row_identities.prediction_ids`` returns them.
    """
    fitted, unknown = [], []
    for version in versions:
        if not {"snapshot", "warm_start"} & version.lineage.keys():  # it was fitted on a data set alone
            continue
        known = _training_rows(settings, version)
        if known is None:
            unknown.append(version)
        elif np.isin(rows, known.ids).any():
            fitted.append(version)
    return fitted, unknown


def _training_rows(settings: Settings, version: Version) -> TrainingRows | None:
    """Return the identities of a version's training rows; None if its package is gone or has none."""
    with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
        try:
            files = ("training_rows.npy", "training_rows.json")
            package = download(settings, version.model, version.version, Path(folder), files=files)
            found = TrainingRows.load(package)
        except (RegistryError, OSError):
            return None
    return found if found.has_identities else None
