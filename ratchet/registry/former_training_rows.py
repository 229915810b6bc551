"""Identities for the training rows of packages that were written before rows had identities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ratchet.config import TrainingConfig
from ratchet.data.row_identities import ORDER, RowIdentities
from ratchet.data.training_rows import TrainingRows
from ratchet.errors import RegistryError
from ratchet.model.package.sealed_package import Package
from ratchet.registry.model_version import Version
from ratchet.settings import Settings
from ratchet.tracking import run_record
from ratchet.tracking.lineage import Lineage


def with_identities(
    settings: Settings,
    package: Package,
    version: Version,
    challenger: TrainingRows,
    holdout: RowIdentities,
    config: TrainingConfig,
    lineage: Lineage,
) -> Package:
    """Return a package with the identities of its data set's rows, if it lacks them and they follow from its lineage.

    They are those of the challenger if both were trained on one data version with the same split and seed. Otherwise
    the package is returned as it is, and its rows are known by their contents.
    """
    rows = package.training_rows
    if rows.has_identities or not _split_alike(settings, version, config, lineage):
        return package
    ids, contents = challenger.ids[: challenger.n_data], challenger.contents[: challenger.n_data]
    known = replace(rows, sources=frozenset({holdout.source}), ids=ids, contents=contents, n_data=len(ids))
    return replace(package, training_rows=known)


def _split_alike(settings: Settings, version: Version, config: TrainingConfig, lineage: Lineage) -> bool:
    theirs = version.lineage.get("reference_data_version", version.lineage.get("data_version"))
    if theirs != (lineage.reference_data_version or lineage.data_version):
        return False
    try:
        before = run_record(settings, version.run_id).config
    except RegistryError:
        return False
    if not before or before["dataset"].get("batch_rows") is not None:  # these were split by content
        return False
    return _of_the_split(before) == _of_the_split(config.model_dump(mode="json"))


def _of_the_split(config: dict[str, Any]) -> tuple[Any, ...]:
    dataset = config["dataset"]  # a record of an earlier release lacks the keys that are newer: they had no value
    return config["seed"], config["split"], *(dataset.get(key) or None for key in sorted(ORDER))
