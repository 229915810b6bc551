"""The files of a home that grow with its runs: snapshots, cached packages, reports and logs.

They are deleted, not archived: the rows of a snapshot are in the data set and in the store or its archive, packages are
in the registry, and the pages of reports in MLflow.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ratchet.data.snapshots import remaining_version
from ratchet.inference.package_cache import PackageCache
from ratchet.monitoring.reports.job import workspace
from ratchet.registry.model_version import from_mlflow
from ratchet.registry.promotion_ledger import Ledger
from ratchet.settings import Settings
from ratchet.store.database import Store
from ratchet.store.tables import promotions, training_runs
from ratchet.tracking import all_pages, connect, quoted, reachable, registered_models


@dataclass(frozen=True)
class FileKind:
    """Files of one kind.

    Attributes
    ----------
    find: returns those that were last used before an instant and are not needed.
    """

    name: str
    find: Callable[[Settings, Store, float], list[Path]]


def unused_snapshots(settings: Settings, store: Store, before: float) -> list[Path]:
    """Return snapshots that neither a registered version nor the ledger nor an open run refers to.

    Raises
    ------
    RegistryError: MLflow cannot be read, so that it is not known which snapshots are needed.
    """
    old = _older(settings.home.joinpath("snapshots").glob("*.parquet"), before)
    if not old:
        return []
    models = registered_models(settings)
    named = _snapshots_of_versions(settings, models) | _snapshots_in_store(store)
    needed = named | {remaining_version(settings, snapshot) for snapshot in named if snapshot}
    # A registry without a model is most likely another one than that of the runs.
    return [path for path in old if path.stem not in needed] if models else []


def unused_packages(settings: Settings, store: Store, before: float) -> list[Path]:
    """Return cached packages, without those of the version in Production and of its predecessor of each model."""
    digests: set[str] = set()
    with store.reading() as connection:
        models = connection.scalars(sa.select(promotions.c.model).distinct()).all()
    for model in models:
        ledger = Ledger(store, model)
        versions = ledger.promoted_versions()[-2:]
        digests.update(entry.digest for entry in ledger.history() if entry.to_version in versions and entry.digest)
    return PackageCache(settings).unused(before, digests)


def old_reports(settings: Settings, _: Store, before: float) -> list[Path]:
    """Return the reports in the workspace, without the newest one of each model."""
    found = []
    for folder in workspace(settings).glob("*/snapshots"):
        reports = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        found += _older(reports[:-1], before)
    return found


def old_logs(settings: Settings, _: Store, before: float) -> list[Path]:
    """Return the logs of runs and reports that the watcher started, and what killed reports left."""
    left = settings.home.glob(".report-*")
    return _older([*settings.home.joinpath("watch").glob("*.log"), *left], before)


FILES = (
    FileKind("snapshots", unused_snapshots),
    FileKind("packages", unused_packages),
    FileKind("reports", old_reports),
    FileKind("logs", old_logs),
)


def remove(settings: Settings, kind: FileKind, paths: Sequence[Path]) -> None:
    """Remove the files that were found.

    Raises
    ------
    StateError: packages are being downloaded.
    """
    if kind.find is unused_packages:
        PackageCache(settings).remove(paths)
        return
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Return the bytes of a file or of all files in a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def _older(paths: Iterable[Path], before: float) -> list[Path]:
    return sorted(path for path in paths if path.stat().st_mtime < before)


def _snapshots_of_versions(settings: Settings, models: Sequence[str]) -> set[str]:
    client = connect(settings)

    def snapshots_of(model: str) -> set[str]:
        named = f"name = {quoted(model)}"
        versions = all_pages(lambda token: client.search_model_versions(named, page_token=token))
        return {from_mlflow(version).lineage.get("snapshot", "") for version in versions}

    with reachable(settings):
        return set().union(*map(snapshots_of, models))


def _snapshots_in_store(store: Store) -> set[str]:
    run = training_runs.c
    open_runs = sa.select(run.snapshot).where(run.state == "open", run.snapshot.is_not(None))
    promoted = sa.select(promotions.c.data_version).where(promotions.c.data_version.is_not(None)).distinct()
    with store.reading() as connection:
        return {*connection.scalars(open_runs), *connection.scalars(promoted)}
